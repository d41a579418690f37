"""Labels that do not reach both arms alike: what is lacking may be one version's wrong answers."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from numpy.random import Generator

from evaluator.evidence.ledger import Ledger
from evaluator.evidence.reach import ALIKE, Reach, label_gates, reach
from evaluator.gates.maturity import blaming, flattering, may_mislead
from evaluator.terms import Terms
from evaluator.verdict.decide import decide
from evaluator.verdict.decision import Action, Decision
from evaluator.verdict.reports import Verdict, report_gates
from evaluator.window.labels import Labels, SliceCounts
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Gate, GateMargin, Limit, Need, Objective
from tests.fakes.late_labels import Label, LateLabels
from tests.fakes.metrics import Behaviour, Fleet
from tests.fakes.rollouts import Trial, demo_plan, demo_policy, demo_terms

GATES = (
    GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(1.5, 0.01)),
    GateDraft(MetricKind.ACCURACY, required=True),
)
TERMS = demo_terms(demo_policy(gates=GATES, min_age=4.0), demo_plan(5000, period=240.0), features=0)
Known = dict[tuple[str, bool], float]


@dataclass(slots=True)
class Chosen(LateLabels):
    """Labels that come for a part of the answers.

    Attributes:
        random: where chance comes from.
        part: of those that would come, by version and by whether the answer was right; 1: all.
    """

    random: Generator = field(default_factory=lambda: np.random.default_rng(5))
    part: Known = field(default_factory=dict)

    def wait(self, labels: Iterable[Label]) -> None:
        for label in labels:
            if self.random.random() < self.part.get((label.version, label.predicted == label.actual), 1.0):
                LateLabels.wait(self, [label])


def run(seed: int, part: Known, test: Behaviour | None = None, terms: Terms = TERMS) -> Decision:
    random = np.random.default_rng(seed)
    fleet = Fleet(terms, random, rate=100.0, test=test or Behaviour(), positives=0.5, labels=Chosen(part=part))
    made = Trial.begin(fleet)
    made.run(140)
    return made.decisions[-1]


def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluator.evidence.label_looks.reach", lambda *_: ALIKE)


def test_a_worse_version_whose_wrong_answers_lack_labels_is_not_promoted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is wrong on 14 % and stable on 8 %. By labels it is the better one; they reach the arms within 10 points."""
    lacking, worse = {("v2", False): 0.4}, Behaviour(wrong=0.14, missed=0.14)
    for seed in range(3):
        decision = run(seed, lacking, worse)
        assert (decision.action, decision.code) == (Action.CANCEL, "TOO_LITTLE_EVIDENCE"), decision.reason
        assert decision.reason.startswith("the period ended, and labels do not reach both versions alike: 8")
        assert "what v2 lacks may be of its wrong answers, and so much is beyond half of what accuracy allows" in (
            decision.gates[1].waits_for
        )
        assert (decide_by(decision, 4), decide_by(decision, 5) != "") == ("", True)
    blind(monkeypatch)
    assert run(0, lacking, worse).action is Action.PROMOTE


def test_an_ab_test_has_no_winner_by_labels_that_one_arm_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    gates = (GateDraft(MetricKind.ERRORS, required=True), GateDraft(MetricKind.ACCURACY, primary=True))
    policy = demo_policy(gates=gates, objective=Objective.SUPERIOR, min_age=4.0)
    terms = demo_terms(policy, demo_plan(5000, period=240.0), features=0)
    lacking, worse = {("v2", False): 0.4}, Behaviour(wrong=0.1, missed=0.1)
    decision = run(0, lacking, worse, terms)
    assert (decision.action, decision.code) == (Action.CANCEL, "NO_WINNER"), decision.reason
    assert "; labels do not reach both versions alike: " in decision.reason
    blind(monkeypatch)
    assert run(0, lacking, worse, terms).action is Action.PROMOTE


def decide_by(decision: Decision, rules: int) -> str:
    """What earlier rules say of labels that do not reach both arms alike: nothing, whatever evidence they had."""
    made = Trial.begin(Fleet(TERMS, np.random.default_rng(0)))
    state = replace(made.state, step=0, reach=Reach(0.9, (0.1, 0.1), unlike=True), coverage=(0.8, 0.9))
    assert decision.at is not None
    said = decide(state, replace(decision.at, rules=rules)).reason
    return said if "both versions" in said else ""


def test_what_was_shown_before_an_arm_lacked_labels_shows_nothing_any_more() -> None:
    made = Trial.begin(Fleet(TERMS, np.random.default_rng(0), rate=400.0))
    while (last := report_gates(made.state, control_missing=False)[1]).verdict is not Verdict.PASS:
        assert made.outcome is None
        made.look()
    lacking = replace(made.state, reach=Reach(0.8, (0.1, 0.1), unlike=True))
    after = report_gates(lacking, control_missing=False)[1]
    assert (last.gate, after.verdict) == ("accuracy", Verdict.CONTINUE)
    # By the rules of before it was no matter.
    assert report_gates(lacking, control_missing=False, by_arm=False)[1].verdict is Verdict.PASS


def test_who_wants_it_is_asked_nothing_of_what_arms_lack() -> None:
    policy = demo_policy(gates=GATES, min_age=4.0, max_coverage_gap=0.5)
    terms = demo_terms(policy, demo_plan(5000, period=240.0), features=0)
    assert run(0, {("v2", False): 0.4}, Behaviour(wrong=0.14, missed=0.14), terms).action is Action.PROMOTE


def test_a_version_as_good_is_not_blamed_for_what_stable_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = {("v1", False): 0.2}
    assert run(0, lacking).action is Action.CANCEL
    blind(monkeypatch)
    assert run(0, lacking).action is Action.ROLLBACK


def test_a_harm_that_no_missing_label_explains_rolls_back_all_the_same() -> None:
    decision = run(0, {("v2", False): 0.8}, Behaviour(wrong=0.3, missed=0.3))
    assert (decision.action, decision.gate) == (Action.ROLLBACK, "accuracy")


@pytest.mark.parametrize("part", [1.0, 0.7])
def test_labels_of_a_random_sample_reach_both_arms_alike(part: float) -> None:
    every = {(version, right): part for version in ("v1", "v2") for right in (False, True)}
    for seed in range(2):
        assert run(seed, every).action is Action.PROMOTE


def slices(*rows: tuple[int, int, int, int], wrong: int = 0) -> Ledger:
    """Predictions and labels of the test arm, and of stable's, slice by slice."""
    counted = [SliceCounts(n, m, Labels(labelled, wrong), Labels(others)) for n, labelled, m, others in rows]
    return Ledger().plus({(1, number): one for number, one in enumerate(counted)})


def test_how_labels_reach_the_arms_is_known_slice_by_slice() -> None:
    # The arms have other parts of either slice, and labels of as many of each.
    mixed = slices((1_000, 900, 100, 90), (100, 50, 1_000, 500))
    found = reach(mixed, mixed.slices, 1.0)
    assert (f"{found.ratio:.9f}", found.wrong, found.unlike) == ("1.000000000", (0.0, 0.0), False)
    fewer = slices((1_000, 850, 1_000, 900), wrong=17)
    found = reach(fewer, fewer.slices, 1.0)
    assert found.ratio == pytest.approx(850 / 900)
    assert (found.wrong, found.unlike) == ((0.02, 0.0), True)
    # Where ten rows of a request get their labels together they are as many as by chance.
    assert not reach(fewer, fewer.slices, 10.0).unlike
    # Of some ten labels nobody knows what is chance.
    few = slices((27, 23, 22, 22))
    assert not reach(few, few.slices, 1.0).unlike
    # A process that could not be read has predictions that nobody knows of.
    unread = slices((1_000, 900, 1_000, 1_001), wrong=17)
    assert reach(unread, unread.slices, 1.0) == reach(Ledger(), [], 1.0) == ALIKE


def test_what_an_arm_lacks_is_held_against_what_it_may_hide() -> None:
    assert [flattering(0.9, 0.2), flattering(1.25, 0.2)] == pytest.approx([0.1, 0.04])
    assert [blaming(0.9, 0.2), blaming(1.25, 0.2)] == pytest.approx([0.02, 0.2])
    assert flattering(0.0, 0.5) == blaming(float("inf"), 0.5) == 1.0
    gate = Gate("it", MetricKind.ACCURACY, Need.ALWAYS, GateMargin(offset=0.005), GateMargin(offset=0.02), 0.1)
    assert [may_mislead(gate, by, 0.0) for by in (0.0099, 0.0101)] == [False, True]
    assert [may_mislead(gate, by, 0.0, harm=True) for by in (0.0024, 0.0026)] == [False, True]
    # A harm of ten points is none of what may be off by four.
    assert [may_mislead(gate, by, 0.1, harm=True) for by in (0.04, 0.06)] == [False, True]
    better = replace(gate, better=GateMargin())
    assert [may_mislead(better, by, 0.03) for by in (0.014, 0.016)] == [False, True]
    limited = replace(gate, limit=Limit(at_least=0.9), safe=GateMargin())
    assert [may_mislead(limited, by, 0.0) for by in (0.0099, 0.0101)] == [False, True]


def test_other_metrics_may_lack_what_they_are_of_and_their_harm_waits_for_nothing() -> None:
    lacking = Reach(1.05, (0.1, 0.1), unlike=True)
    accuracy = Gate("it", MetricKind.ACCURACY, Need.ALWAYS, GateMargin(offset=0.005), GateMargin(offset=0.02), 0.1)
    recall = replace(accuracy, metric=MetricKind.RECALL, positive="3")
    assert (lacking.flatters(accuracy), lacking.flatters(recall)) == (False, True)
    assert (lacking.blames(accuracy), lacking.blames(recall)) == (True, False)
    assert not lacking._replace(unlike=False).flatters(recall)


def test_labels_and_values_and_callers_have_gates_of_their_own() -> None:
    drafts = (*GATES, GateDraft(MetricKind.VALUE), GateDraft(MetricKind.ACCURACY, segment="eu"))
    gates = demo_policy(gates=drafts).gates
    assert [one.name for one in label_gates(gates)] == ["accuracy"]
    assert [one.name for one in label_gates(gates, values=True)] == ["value"]
    assert [one.name for one in label_gates(gates, "eu")] == ["accuracy in eu"]
