"""The breaker, the patience and the retry budget."""

from router.breaker import OPEN_SECONDS, TRIP_FAILURES, WINDOW, Admission, Breaker
from router.patience import LEAST_SECONDS, Patience
from router.retries import RetryBudget


def test_it_opens_after_many_failures_and_lets_probes_through() -> None:
    breaker = Breaker()
    for _ in range(TRIP_FAILURES):
        assert breaker.admit(0.0, 0.5) is Admission.LIVE
        breaker.record(0.0, failed=True)
    assert breaker.is_open(0.0)
    assert breaker.admit(0.1, 0.5) is Admission.REFUSED
    assert breaker.admit(0.1, 0.009) is Admission.REDUCED


def test_it_closes_again_so_that_evidence_keeps_coming() -> None:
    breaker = Breaker()
    for _ in range(TRIP_FAILURES):
        breaker.record(0.0, failed=True)
    assert breaker.admit(OPEN_SECONDS, 0.5) is Admission.LIVE
    for _ in range(TRIP_FAILURES - 1):
        breaker.record(OPEN_SECONDS, failed=True)
    assert not breaker.is_open(OPEN_SECONDS)
    breaker.record(OPEN_SECONDS, failed=True)
    assert breaker.is_open(OPEN_SECONDS)


def test_a_version_that_fails_every_fifth_time_is_left_to_the_evidence() -> None:
    breaker = Breaker()
    for number in range(50 * WINDOW):
        breaker.record(0.0, failed=number % 5 == 0)
    assert not breaker.is_open(0.0)


def test_probes_do_not_count() -> None:
    breaker = Breaker()
    for _ in range(TRIP_FAILURES):
        breaker.record(0.0, failed=True)
    for _ in range(TRIP_FAILURES):
        breaker.record(1.0, failed=True)
    assert breaker.admit(OPEN_SECONDS, 0.5) is Admission.LIVE


def test_patience_is_half_of_the_time_until_p99_is_known() -> None:
    patience = Patience()
    for _ in range(64):
        assert patience.seconds(2.0) == 1.0
        patience.record(0.010)
    assert patience.seconds(2.0) == 0.040
    assert patience.seconds(0.02) == 0.01


def test_patience_never_falls_below_the_schedulers_delays() -> None:
    patience = Patience()
    for _ in range(64):
        patience.record(0.001)
    assert patience.seconds(2.0) == LEAST_SECONDS


def test_patience_is_by_the_slowest_hundredth_whichever_answers_they_were() -> None:
    patience = Patience()
    for number in range(512):
        patience.record(0.5 if number < 5 else 0.010)
    # Of 512 the five slowest are beyond the 99th percentile.
    assert patience.seconds(8.0) == 0.040
    for number in range(512):
        patience.record(0.5 if number < 6 else 0.010)
    assert patience.seconds(8.0) == 2.0


def test_at_most_ten_retries_are_saved_up() -> None:
    budget = RetryBudget()
    for _ in range(1_000):
        budget.earn()
    assert [budget.spend() for _ in range(11)] == [True] * 10 + [False]


def test_retries_are_a_tenth_of_the_calls() -> None:
    budget = RetryBudget()
    while budget.spend():
        pass
    granted = 0
    for _ in range(1_000):
        budget.earn()
        granted += budget.spend()
    assert 98 <= granted <= 100
