"""Floors: gates that watch the callers of one segment by themselves."""

from dataclasses import replace

import pytest

from evaluator.verdict.decision import Action
from evaluator.verdict.reports import Verdict
from evaluator.window.arm_counts import ArmCounts
from evaluator.window.caller_rows import caller_rows
from evaluator.window.counts import InstanceCounts, Series
from services.common.policy.defaults import complete_policy
from services.common.policy.drafts import GateDraft, PolicyDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin, Meaning, Objective
from tests.fakes.metrics import CLASSES, Behaviour
from tests.fakes.rollouts import Trial, demo_plan, demo_policy, demo_terms, trial

ERRORS = GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(1.5, 0.01))
ACCURACY = GateDraft(MetricKind.ACCURACY, required=True, harm=GateMargin(1.0, 0.01), safe=GateMargin(1.0, 0.05))
EU_ERRORS = GateDraft(MetricKind.ERRORS, segment="eu", safe=GateMargin(1.5, 0.02))
EU_ACCURACY = GateDraft(MetricKind.ACCURACY, segment="eu", harm=GateMargin(1.0, 0.01), safe=GateMargin(1.0, 0.05))


def floored(seed: int, test: Behaviour, *gates: GateDraft, european: float = 0.2) -> Trial:
    asked = gates or (ERRORS, ACCURACY, EU_ERRORS, EU_ACCURACY)
    terms = demo_terms(demo_policy(gates=asked), demo_plan(3000, period=240.0), features=0)
    return trial(seed, terms, test, european=european)


def test_a_version_alike_for_everybody_is_promoted() -> None:
    decision = floored(0, Behaviour()).run(120)
    assert decision is not None
    assert decision.action is Action.PROMOTE
    assert [report.gate for report in decision.gates if report.required] == ["errors", "accuracy"]


@pytest.mark.parametrize(
    ("test", "gate"),
    [
        (Behaviour(european_errors=0.2), "errors in eu"),
        (Behaviour(european_wrong=0.4), "accuracy in eu"),
    ],
)
def test_a_version_that_is_bad_for_a_few_is_rolled_back_though_all_together_hardly_show_it(
    test: Behaviour, gate: str
) -> None:
    for seed in range(2):
        decision = floored(seed, test).run(120)
        assert decision is not None
        assert (decision.action, decision.gate) == (Action.ROLLBACK, gate), decision.reason
        assert decision.reason.startswith("for callers in eu v2 ")
        report = next(one for one in decision.gates if one.gate == gate)
        everybody = next(one for one in decision.gates if one.metric is report.metric and not one.segment)
        assert report.segment == "eu"
        assert 0 < report.test.n < 0.5 * everybody.test.n


def test_a_floor_that_is_required_waits_for_callers() -> None:
    required = GateDraft(MetricKind.ERRORS, segment="eu", required=True)
    made = floored(0, Behaviour(), ERRORS, required, european=0.0)
    for _ in range(20):
        made.look()
    report = next(one for one in made.decisions[-1].gates if one.gate == "errors in eu")
    assert report.verdict is Verdict.CONTINUE
    assert report.waits_for == "attempts of v2 for callers in eu: none yet"


def test_a_floor_waits_for_labels_of_its_own_callers() -> None:
    required = replace(EU_ACCURACY, required=True)
    made = floored(0, Behaviour(), ERRORS, required)
    made.fleet.european_labelled = 0.2
    for _ in range(60):
        made.look()
    assert made.outcome is None
    waits = next(one.waits_for for one in made.decisions[-1].gates if one.gate == "accuracy in eu")
    assert waits.startswith("labels for callers in eu: ")
    assert "of v2's answers have one, 50.0 % are needed" in waits


def test_all_floors_share_the_error_of_a_rollback() -> None:
    policy = demo_policy(gates=(ERRORS, ACCURACY, EU_ERRORS, EU_ACCURACY))
    shares = {gate.name: gate.share for gate in policy.gates}
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["errors"] == pytest.approx(shares["errors in eu"])
    assert shares["accuracy"] == pytest.approx(shares["accuracy in eu"])


def test_only_the_segments_own_counts_are_taken() -> None:
    terms = demo_terms(demo_policy(gates=(ERRORS, EU_ERRORS)), features=0)

    def series(n: int, **changes: str) -> Series:
        at = {"caller": "eu", "epoch": "2", "outcome": "ok", "segment": "", "traffic": "live", "version": "v2"}
        return Series("crossfade.caller.attempt.count", tuple(sorted((at | changes).items())), (n,))

    counted = (
        series(10),
        series(3, outcome="INTERNAL"),
        series(99, outcome="INVALID_ARGUMENT"),
        series(99, caller="us"),
        series(99, epoch="1"),
        series(99, traffic="failover"),
        series(50, version="v1"),
        series(5, version="v1", traffic="control", outcome="DEADLINE_EXCEEDED"),
    )
    window = (InstanceCounts("router-1", 1, counted),)
    assert caller_rows(ArmCounts(window, terms), 2, "eu") == [(13, 3, 55, 5)]
    assert caller_rows(ArmCounts(window, terms), None, "eu") == [(0, 0, 55, 5)]
    assert caller_rows(ArmCounts(window, terms), 3, "eu") == []


def refused(gate: GateDraft, *, objective: Objective = Objective.NON_INFERIOR, sticky: bool = False) -> str:
    found = complete_policy(
        PolicyDraft(gates=(ERRORS, gate)), Meaning("classification", CLASSES), objective, sticky=sticky
    )
    return "; ".join(one.description for one in found[1])


def test_what_is_not_counted_by_segment_is_refused() -> None:
    assert not refused(EU_ACCURACY)
    runtime = GateDraft(MetricKind.RUNTIME, segment="eu")
    assert "accuracy and errors are counted by the caller's segment, and this gate watches runtime" in refused(runtime)
    primary = GateDraft(MetricKind.ACCURACY, segment="eu", primary=True)
    assert "for all callers" in refused(primary, objective=Objective.SUPERIOR)
    assert "segment 'eu west' is not an id: use 1 to 63 letters" in refused(replace(EU_ERRORS, segment="eu west"))
    by_key = GateDraft(MetricKind.ERRORS, segment="eu", required=True)
    assert "assigned by key" in refused(by_key, sticky=True)
