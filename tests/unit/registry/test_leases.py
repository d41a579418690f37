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


def test_of_a_report_that_came_after_a_stillness_all_time_counts() -> None:
    clock = ManualClock()
    watch = LeaseWatch(clock, look_seconds=1.0)
    assert watch.ended([]) == []
    clock.advance(40)
    watch.note("new", 40.0)
    clock.advance(1)
    for _ in range(7):
        assert watch.ended([lease("new", 40.0)]) == []
        clock.advance(2)
    assert watch.ended([lease("new", 40.0)]) == ["new"]


def test_a_stillness_that_lasts_no_longer_than_a_few_looks_counts() -> None:
    clock = ManualClock()
    watch = LeaseWatch(clock, look_seconds=1.0)
    for _ in range(5):
        assert watch.ended([lease("silent", 0.0)]) == []
        clock.advance(3)
    assert watch.ended([lease("silent", 0.0)]) == ["silent"]


def test_when_nobody_could_report_every_lease_begins_again() -> None:
    clock = ManualClock()
    watch = LeaseWatch(clock, look_seconds=15.0)
    assert watch.ended([lease("silent", 0.0)]) == []
    clock.advance(14)
    watch.begin_again()
    assert watch.ended([lease("silent", 0.0)]) == []
    clock.advance(14)
    assert watch.ended([lease("silent", 0.0)]) == []
    clock.advance(1)
    assert watch.ended([lease("silent", 0.0)]) == ["silent"]


def test_one_that_is_gone_and_comes_back_has_its_full_length() -> None:
    clock = ManualClock()
    watch = LeaseWatch(clock, look_seconds=15.0)
    assert watch.ended([lease("away", 0.0)]) == []
    clock.advance(10)
    assert watch.ended([]) == []
    assert watch.ended([lease("away", 0.0)]) == []
    clock.advance(14)
    assert watch.ended([lease("away", 0.0)]) == []


def test_none_passes_before_the_first_look_either() -> None:
    clock = ManualClock()
    watch = LeaseWatch(clock, look_seconds=1.0)
    watch.note("early", 0.0)
    clock.advance(40)
    assert watch.ended([lease("early", 0.0)]) == []
