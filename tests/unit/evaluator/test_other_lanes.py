"""Processes that answer other lanes' requests as well: their batches are compared only while both are as busy."""

from dataclasses import replace

import pytest

from evaluator.verdict.decision import Action
from evaluator.window.arm_counts import ArmCounts
from evaluator.window.arms import ELSEWHERE
from evaluator.window.counts import InstanceCounts, Series
from evaluator.window.other_lanes import NO_OTHER_LANES
from evaluator.window.snapshots import found_in
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin, Limit
from services.common.telemetry import catalog
from services.common.telemetry.store import MetricStore
from tests.fakes.metrics import Behaviour
from tests.fakes.rollouts import Trial, demo_plan, demo_policy, demo_terms, trial

SLOW = Behaviour(seconds=0.004)
ERRORS = GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(1.5, 0.01))
TERMS = demo_terms(
    demo_policy(gates=(ERRORS, GateDraft(MetricKind.RUNTIME, required=True))), demo_plan(2000, period=40.0), features=0
)


def busier(made: Trial, looks: int, version: str = "v2", traffic: str = "live", requests: int = 4_000) -> None:
    """Looks while a process answers so many requests of the lane eu between two of them."""
    for _ in range(looks):
        at = ("digits", version, traffic, "eu", "ok", "7")
        made.fleet.routers[0].store.histogram(catalog.ATTEMPT_DURATION, *at).counts[5] += requests
        made.look()
        if made.outcome is not None:
            return


def test_a_version_that_another_lane_keeps_warm_is_neither_promoted_nor_blamed_for_its_runtimes() -> None:
    made = trial(1, TERMS)
    busier(made, 10)
    (runtime,) = (report for report in made.decisions[-1].gates if report.gate == "runtime")
    assert (runtime.harm.log_e, runtime.safe.log_e) == (0.0, 0.0)
    test, _ = made.state.others.shares
    assert 0.9 < test < 1.0
    assert runtime.waits_for == (
        f"processes that are as busy: {100 * test:.1f} % of the requests that v2's process answers are of other lanes "
        "(eu), and 0.00 % of those of v1's control process, and the busier one is the faster; a runtime gate with a "
        "limit does not compare them, and one that is not required holds nothing up"
    )
    busier(made, 40)
    assert made.outcome is not None
    assert (made.outcome.action, made.outcome.code) == (Action.CANCEL, "TOO_LITTLE_EVIDENCE")
    assert made.outcome.reason.startswith("the period ended, and runtimes cannot be compared: ")


def test_a_slower_version_that_another_lane_keeps_warm_is_rolled_back_when_that_lane_is_quiet() -> None:
    made = trial(2, demo_terms(TERMS.policy, demo_plan(2000, period=400.0), features=0), test=SLOW)
    busier(made, 10)
    assert made.outcome is None
    made.run(100)
    assert made.outcome is not None
    assert (made.outcome.action, made.outcome.gate) == (Action.ROLLBACK, "runtime")


@pytest.mark.parametrize("compared", [True, False])
def test_few_requests_of_another_lane_and_gates_that_compare_no_process_hold_nothing_up(compared: bool) -> None:
    limit = GateDraft(MetricKind.RUNTIME, required=True, limit=Limit(seconds=0.02, quantile=0.5))
    terms = TERMS if compared else replace(TERMS, policy=demo_policy(gates=(ERRORS, limit)))
    made = trial(3, terms)
    busier(made, 40, requests=2 if compared else 4_000)
    assert made.outcome is not None
    assert made.outcome.action is Action.PROMOTE, made.outcome.reason


def test_a_busier_control_process_is_no_equal_either() -> None:
    made = trial(4, TERMS)
    busier(made, 30, version="v1", traffic="control")
    assert made.outcome is not None
    assert made.outcome.code == "TOO_LITTLE_EVIDENCE"
    assert "runtimes cannot be compared: 0.00 % of the requests that v2's process answers" in made.outcome.reason


def test_where_both_processes_are_as_much_busier_they_are_compared() -> None:
    attempts = [(("traffic", "live"), ("version", "v2")), (("traffic", "control"), ("version", "v1"))]
    window = tuple(
        InstanceCounts(
            f"router-{number}",
            1,
            (
                Series(catalog.ATTEMPT_DURATION.name, at, (0, 400 + number)),
                Series(ELSEWHERE, (("epoch", "7"), ("segment", "eu"), at[1]), (1_000 - number,)),
            ),
        )
        for number, at in enumerate(attempts)
    )
    assert not NO_OTHER_LANES.plus(ArmCounts(window, TERMS)).apart
    assert NO_OTHER_LANES.plus(ArmCounts(window[:1], TERMS)).apart
    assert not NO_OTHER_LANES.apart


def test_what_other_lanes_had_before_the_start_is_in_no_proportion_to_the_rollouts_own() -> None:
    own = [(("traffic", "live"), ("version", "v2")), (("traffic", "control"), ("version", "v1"))]
    beside = Series(ELSEWHERE, (("epoch", "7"), ("segment", "eu"), ("version", "v2")), (4,))
    attempts = [Series(catalog.ATTEMPT_DURATION.name, at, (100,)) for at in own]
    others = NO_OTHER_LANES
    for _ in range(20):
        others = others.plus(ArmCounts((InstanceCounts("router-1", 1, (beside,)),), TERMS))
        assert others.apart
    others = others.plus(ArmCounts((InstanceCounts("router-1", 1, (*attempts, beside)),), TERMS))
    assert not others.apart
    assert others.shares == (4 / 104, 0.0)


def test_of_other_lanes_only_what_the_two_processes_answer_is_taken() -> None:
    store = MetricStore(lambda: 5)
    for version, traffic, segment in (
        ("v2", "live", "eu"),
        ("v2", "control", "eu"),
        ("v1", "live", "eu"),
        ("v1", "control", "eu"),
        ("v3", "live", "eu"),
        ("v2", "live", ""),
    ):
        for outcome in ("ok", "INTERNAL"):
            at = ("digits", version, traffic, segment, outcome, "7")
            store.histogram(catalog.ATTEMPT_DURATION, *at).record(0.1)
    taken = [one for one in found_in(store.snapshot(), TERMS).series if one.metric == ELSEWHERE]
    assert [(one.values(), one.counts) for one in taken] == [
        ({"epoch": "7", "segment": "eu", "version": "v1"}, (2,)),
        ({"epoch": "7", "segment": "eu", "version": "v2"}, (2,)),
    ]
    alone = replace(TERMS, policy=demo_policy(gates=(ERRORS,)))
    assert not any(one.metric == ELSEWHERE for one in found_in(store.snapshot(), alone).series)
