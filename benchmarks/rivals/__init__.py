"""Servers that the Worker is measured beside; each runs in an environment of its own, see `benchmarks.rival`."""
