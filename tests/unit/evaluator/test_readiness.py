"""Whether Workers can serve a version at all, by what each of them says."""

import pytest

from evaluator.verdict.readiness import (
    Failure,
    Served,
    Serving,
    Worker,
    control_missing,
    find_failure,
    is_ready,
    obstacle,
)


def worker(name: str, *served: Served) -> Worker:
    return Worker(name, served)


def version(state: Serving, error: str = "", code: str = "", *, of: str = "v2", control: bool = False) -> Served:
    return Served(of, control, state, error, code)


STABLE = version(Serving.READY, of="v1")
NOT_LOADED = version(Serving.FAILED, "no weights", "LOAD_FAILED")
CRASHED = version(Serving.FAILED, "killed by signal 11", "CRASHED")


def failure(*workers: Worker, waited: float = 100.0) -> Failure | None:
    return find_failure(workers, "v2", "v1", waited)


@pytest.mark.parametrize(
    ("stable", "fine"),
    [
        (None, True),
        (version(Serving.READY, of="v1"), True),
        # Its successor takes the requests; it still answers those that it has.
        (version(Serving.DRAINING, of="v1"), True),
        (version(Serving.LOADING, of="v1"), False),
        (version(Serving.FAILED, "no weights", "LOAD_FAILED", of="v1"), False),
        (version(Serving.READY, "its process crashed", "CRASHED", of="v1"), False),
        # The control process is no live one.
        (version(Serving.FAILED, "", "CRASHED", of="v1", control=True), True),
    ],
)
def test_a_crash_is_the_versions_own_where_stable_serves(stable: Served | None, fine: bool) -> None:
    found = failure(worker("a", *([stable] if stable else []), CRASHED))
    assert (found is not None) is fine
    if found is not None:
        assert found.code == "CRASHED"
        assert found.reason == "v2's process crashed twice while v1's did not: killed by signal 11"


def test_a_crash_at_one_worker_is_enough_and_one_that_ended_in_another_state_is_none() -> None:
    assert failure(worker("a", STABLE, version(Serving.READY)), worker("b", STABLE, CRASHED)) is not None
    assert failure(worker("a", STABLE, version(Serving.READY, "killed", "CRASHED"))) is None


def test_where_stable_crashes_too_the_version_is_not_said_to_fail_to_load() -> None:
    shared = worker("a", version(Serving.FAILED, "", "CRASHED", of="v1"), CRASHED)
    assert failure(shared) is None
    # Beside a Worker at which it does fail to load it is: no Worker has it.
    found = failure(shared, worker("b", STABLE, NOT_LOADED))
    assert found == Failure("LOAD_FAILED", "v2 could not be loaded by any of the 2 Workers that tried: no weights")


def test_a_version_that_one_worker_alone_tried_to_load_says_so() -> None:
    found = failure(worker("a", STABLE, version(Serving.FAILED, "", "VERIFY_FAILED")))
    assert found == Failure("LOAD_FAILED", "v2 could not be loaded by the Worker that tried: no reason was given")


def test_a_worker_that_has_said_nothing_is_waited_for_half_a_minute() -> None:
    silent = worker("b", STABLE)
    assert failure(worker("a", NOT_LOADED), silent, waited=29.9) is None
    assert failure(worker("a", NOT_LOADED), silent, waited=30.0) is not None
    assert failure(worker("a", NOT_LOADED), waited=0.0) is not None


def test_no_workers_are_no_failure() -> None:
    assert failure() is None
    assert failure(worker("a", STABLE)) is None


def test_only_a_process_for_live_traffic_makes_a_version_ready() -> None:
    assert is_ready([worker("a"), worker("b", version(Serving.READY))], "v2")
    for state in (Serving.LOADING, Serving.FAILED, Serving.DRAINING):
        assert not is_ready([worker("a", version(state))], "v2")
    assert not is_ready([worker("a", version(Serving.READY, control=True), STABLE)], "v2")


def test_the_first_obstacle_that_a_worker_names_is_said() -> None:
    workers = [
        worker("a", version(Serving.LOADING, "v1's own affair", of="v1")),
        worker("b", version(Serving.LOADING)),
        worker("c", version(Serving.LOADING, "no space left")),
        worker("d", version(Serving.LOADING, "no such file")),
    ]
    assert obstacle(workers, "v2") == "no space left"
    assert obstacle(workers[:2], "v2") == ""


def test_control_is_missing_where_every_worker_that_tried_has_failed_to_run_it() -> None:
    failed, ready = (version(state, of="v1", control=True) for state in (Serving.FAILED, Serving.READY))
    assert control_missing([worker("a", STABLE, failed), worker("b", STABLE)], "v1")
    assert not control_missing([worker("a", failed), worker("b", ready)], "v1")
    assert not control_missing([worker("a", STABLE), worker("b")], "v1")
    # A live process that fails is another matter.
    assert not control_missing([worker("a", version(Serving.FAILED, of="v1"))], "v1")
