"""Fixtures that every test may use."""

from hypothesis import settings

pytest_plugins = ["tests.support.postgres", "tests.support.prometheus"]

# How long an example takes says how busy the machine is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
