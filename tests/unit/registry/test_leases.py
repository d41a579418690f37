"""Which leases have ended, by a clock in the test's hand."""

from registry.domain.serving import Lease
from registry.service.leases import LeaseWatch
from tests.fakes.clock import ManualClock


def lease(instance_id: str, reported: float) -> Lease:
    return Lease(instance_id, ttl=15.0, reported=reported, recheck=None)


def test_a_lease_ends_once_its_report_stayed_the_same_for_its_length() -> None:
    clock = ManualClock()
    watch = LeaseWatch(clock, look_seconds=1.0)
    for second in range(15):
        assert watch.ended([lease("silent", 0.0), lease("alive", float(second))]) == []
        clock.advance(1)
    assert watch.ended([lease("silent", 0.0), lease("alive", 15.0)]) == ["silent"]


def test_no_time_passes_for_a_lease_while_nobody_looks() -> None:
    clock = ManualClock()
    watch = LeaseWatch(clock, look_seconds=1.0)
    for _ in range(11):
        assert watch.ended([lease("silent", 0.0)]) == []
        clock.advance(1)
    watch.note("late", 11.0)
    # This process, or the database that it reads, stands still.
    clock.advance(40)
    assert watch.ended([lease("silent", 0.0), lease("late", 11.0)]) == []
    clock.advance(2)
    assert watch.ended([lease("silent", 0.0), lease("late", 11.0)]) == ["silent"]
    for _ in range(4):
        clock.advance(2)
        assert watch.ended([lease("late", 11.0)]) == []
    clock.advance(2)
    assert watch.ended([lease("late", 11.0)]) == ["late"]


def test_none_passes_before_the_first_look_either() -> None:
    clock = ManualClock()
    watch = LeaseWatch(clock, look_seconds=1.0)
    watch.note("early", 0.0)
    clock.advance(40)
    assert watch.ended([lease("early", 0.0)]) == []
