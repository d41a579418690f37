"""Traces of versions under test: few, the newest, and failures first."""

from router.noted_traces import KEPT, NotedTraces


def test_failures_come_first_and_the_newest_of_each() -> None:
    noted = NotedTraces()
    for number in range(8):
        noted.note("churn", "", "v2", f"{number}", failed=number % 2 == 0)
    assert noted.of("churn", "", "v2") == ("6", "4", "2", "0", "7", "5", "3", "1")
    assert noted.of("churn", "eu", "v2") == noted.of("churn", "", "v3") == ()


def test_only_so_many_are_kept() -> None:
    noted = NotedTraces()
    for number in range(100):
        noted.note("churn", "", "v2", f"{number}", failed=True)
    assert noted.of("churn", "", "v2") == tuple(f"{number}" for number in range(99, 99 - KEPT, -1))
    for number in range(300):
        noted.note("churn", "", f"w{number}", "t", failed=False)
    assert noted.of("churn", "", "v2") == ()
    assert noted.of("churn", "", "w299") == ("t",)
