"""Times of which others take the difference: a clock that is set meanwhile is not in it."""

import time

import pytest

from services.common.clock import steady_ns
from services.common.telemetry import catalog
from services.common.telemetry.otlp import Resource, decode, encode
from services.common.telemetry.page_names import UPTIME
from services.common.telemetry.prometheus import families
from services.common.telemetry.store import MetricStore

DAY = 86_400


@pytest.mark.parametrize("seconds", [10 * 365 * DAY, -DAY])
def test_what_a_clock_is_set_by_is_no_time_that_anything_ran(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    before = time.time_ns()
    resource, store = Resource("worker", "w", steady_ns()), MetricStore()
    store.counter(catalog.FEEDBACK_DUPLICATE_COUNT, "m", "v1", "live").add()
    monkeypatch.setattr(time, "time_ns", lambda: before + seconds * 1_000_000_000)
    store.counter(catalog.FEEDBACK_DUPLICATE_COUNT, "m", "v2", "live").add()
    pull = decode(encode(resource, store.snapshot()))
    ages = [pull.time_ns - start for start in (pull.start_ns, *(one.start_ns for one in pull.snapshots))]
    assert len(ages) == 3
    assert all(0 <= age < 60e9 for age in ages)
    (uptime,) = [family for family in families(resource, ()) if family.name == UPTIME]
    assert 0 <= uptime.samples[0].value < 60
