"""Rules of the decision on versions that do not load, crash, or are not ready."""

from dataclasses import replace

from evaluator.evidence.passing import Passing
from evaluator.evidence.state import State, start
from evaluator.verdict.decide import decide
from evaluator.verdict.decision import Action, Circumstances, Decision, Phase
from evaluator.verdict.readiness import Served, Serving, Worker
from evaluator.verdict.reports import Verdict
from tests.fakes.rollouts import demo_terms
from tests.unit.evaluator.circumstances import CONTROL, STABLE, at


def served(*states: tuple[str, Serving, str]) -> tuple[Worker, ...]:
    """A Worker per state of v2, on each of which v1 is ready."""
    return tuple(
        Worker(name, (STABLE, Served("v2", False, state, "out of memory", code))) for name, state, code in states
    )


def failed(workers: tuple[Worker, ...], waited: float = 100.0) -> Decision:
    now = 1_000_000.0 + waited
    state = replace(start(demo_terms()), first_time=1_000_000.0, passing=Passing(now))
    return decide(state, Circumstances(Phase.WAITING, now, 0.0, workers))


def test_a_version_that_loads_nowhere_is_rolled_back() -> None:
    decision = failed(served(("a", Serving.FAILED, "LOAD_FAILED"), ("b", Serving.FAILED, "VERIFY_FAILED")))
    assert (decision.action, decision.verdict, decision.code) == (Action.ROLLBACK, Verdict.FAIL, "LOAD_FAILED")
    assert decision.reason == "v2 could not be loaded by any of the 2 Workers that tried: out of memory"


def test_a_version_that_one_worker_cannot_load_is_not_rolled_back_while_another_still_tries() -> None:
    decision = failed(served(("a", Serving.FAILED, "LOAD_FAILED"), ("b", Serving.LOADING, "")))
    assert decision.action is Action.NONE


def test_a_version_is_not_rolled_back_until_every_worker_was_heard_or_had_time_to_speak() -> None:
    workers = (*served(("a", Serving.FAILED, "LOAD_FAILED")), Worker("b", ()))
    assert failed(workers, waited=5.0).action is Action.NONE
    assert failed(workers, waited=31.0).action is Action.ROLLBACK


def test_a_version_that_crashed_where_stable_did_not_is_rolled_back_while_it_runs(young: State) -> None:
    workers = served(("a", Serving.FAILED, "CRASHED"), ("b", Serving.READY, ""))
    decision = decide(young, at(workers=workers))
    assert (decision.action, decision.code) == (Action.ROLLBACK, "CRASHED")
    assert "crashed twice while v1's did not" in decision.reason


def test_a_crash_that_stable_shares_is_not_blamed_on_the_version(young: State) -> None:
    shared = (Worker("a", tuple(Served(v, False, Serving.FAILED, "", "CRASHED") for v in ("v1", "v2"))),)
    assert decide(young, at(workers=shared)).action is Action.NONE


def test_a_crash_after_which_stable_was_started_again_is_not_blamed_on_the_version(young: State) -> None:
    again = Served("v1", False, Serving.READY, "its process crashed 2 times", "CRASHED")
    shared = (Worker("a", (again, CONTROL, Served("v2", False, Serving.FAILED, "", "CRASHED"))),)
    assert decide(young, at(workers=shared)).action is Action.NONE


def test_a_crash_where_stable_is_not_ready_either_is_not_blamed_on_the_version(young: State) -> None:
    # What failed to load there is tried again from time to time, and says nothing of its failure meanwhile.
    trying = Served("v1", False, Serving.LOADING)
    shared = (Worker("a", (trying, Served("v2", False, Serving.FAILED, "", "CRASHED"))),)
    assert decide(young, at(workers=shared)).action is Action.NONE


def test_a_source_that_cannot_be_reached_is_waited_for_and_named() -> None:
    waiting = (Worker("a", (STABLE, Served("v2", False, Serving.LOADING, "s3://m/model.json does not exist"))),)
    assert failed(waiting, waited=899.0).reason.endswith("verified and warm: s3://m/model.json does not exist")
    decision = failed(waiting, waited=901.0)
    assert (decision.action, decision.code) == (Action.CANCEL, "NOT_READY")
    assert decision.reason == "v2 was ready on no Worker within 15 min: s3://m/model.json does not exist"


def test_a_version_that_is_ready_nowhere_ends_inconclusive_in_time() -> None:
    loading = served(("a", Serving.LOADING, ""))
    assert failed(loading, waited=899.0).action is Action.NONE
    decision = failed(loading, waited=901.0)
    assert (decision.action, decision.verdict, decision.code) == (Action.CANCEL, Verdict.INCONCLUSIVE, "NOT_READY")
    ready = failed(served(("a", Serving.READY, "")), waited=901.0)
    assert ready.action is Action.NONE
    assert ready.reason == "v2 is ready; waits until v1 carries all of the traffic and has a control process beside it"
