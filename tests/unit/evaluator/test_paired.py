"""Labels of mirrored requests: which version was right on the same row."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest, multinomial

from evaluator.evidence.ledger import Ledger
from evaluator.gates.maturity import is_fair, may_hide, misleading, unpaired
from evaluator.gates.paired import PairedGate
from evaluator.statistics import means
from evaluator.statistics.process import log_threshold
from evaluator.terms import Terms
from evaluator.verdict.decide import decide
from evaluator.verdict.decision import Action
from evaluator.verdict.reports import Verdict
from evaluator.window.labels import Labels, SliceCounts
from services.common.policy.defaults import check_together, complete_policy
from services.common.policy.drafts import GateDraft, PolicyDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Gate, GateMargin, LabelMaturity, Limit, Meaning, Need, Objective
from tests.fakes.metrics import CLASSES, Behaviour
from tests.fakes.rollouts import demo_plan, demo_policy, demo_terms, trial

ERRORS = GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(1.5, 0.01))
PAIRED = GateDraft(MetricKind.PAIRED_ACCURACY, required=True)
GATE = Gate("paired", MetricKind.PAIRED_ACCURACY, Need.ALWAYS, GateMargin(offset=0.005), GateMargin(offset=0.02), 1.0)


def terms(*shares: int, shadow: int = 1) -> Terms:
    return demo_terms(demo_policy(gates=(ERRORS, PAIRED)), demo_plan(*shares, shadow=shadow, period=240.0), features=0)


def pairs(test_alone: int, stable_alone: int, both: int, right: int) -> list[tuple[Labels, Labels]]:
    rows = test_alone + stable_alone + both + right
    return [(Labels(rows, test_alone + both, alone=test_alone), Labels(rows, stable_alone + both, alone=stable_alone))]


@pytest.mark.parametrize("seed", range(2))
def test_a_version_as_often_right_passes_its_shadow_step(seed: int) -> None:
    made = trial(seed, terms(3000), paired=0.9)
    decision = made.run(120)
    assert decision is not None
    assert decision.code == "SHADOW_PASSED", decision.reason
    assert "of the same " in decision.reason
    assert decision.pairs[2] > 1_000


@pytest.mark.parametrize("seed", range(2))
def test_one_that_is_wrong_more_often_on_the_same_rows_is_rolled_back_before_any_caller_has_it(seed: int) -> None:
    made = trial(seed, terms(3000, 5000), Behaviour(wrong=0.11), paired=0.9)
    decision = made.run(120)
    assert decision is not None
    assert (decision.action, decision.gate, made.step) == (Action.ROLLBACK, "paired_accuracy", 0), decision.reason
    # Two samples of other rows would take thousands of labels for three points.
    report = next(one for one in decision.gates if one.gate == "paired_accuracy")
    assert report.test.n == report.baseline.n < 4_000
    assert report.low < report.difference == pytest.approx((report.test.x - report.baseline.x) / report.test.n)


def test_labels_that_hardly_meet_their_pairs_hold_the_step_and_how_many_did_is_said() -> None:
    made = trial(0, terms(3000), paired=0.3)
    for _ in range(30):
        made.look()
    waits = next(one.waits_for for one in made.decisions[-1].gates if one.gate == "paired_accuracy")
    assert waits.startswith("labels: those of ")
    assert waits.endswith("of the mirrored rows met both answers, and of 50.0 % they are needed")
    unpaired = trial(0, terms(3000))
    for _ in range(30):
        unpaired.look()
    waits = next(one.waits_for for one in unpaired.decisions[-1].gates if one.gate == "paired_accuracy")
    assert waits == "labels of mirrored rows: none yet"


@pytest.mark.parametrize(("wrong", "right"), [(0.3, 0.9), (1.0, 0.52)])
def test_labels_that_depend_on_whether_stable_was_right_conclude_nothing(wrong: float, right: float) -> None:
    made = trial(0, terms(3000), paired=right, paired_wrong=wrong)
    for _ in range(60):
        made.look()
    assert made.outcome is None, made.outcome
    waits = next(one.waits_for for one in made.decisions[-1].gates if one.gate == "paired_accuracy")
    assert waits.startswith("labels that come alike whether the versions agree or differ: as they have come, a version")
    assert waits.endswith("and half of 0.5 points is allowed")


@pytest.mark.parametrize(("wrong", "right"), [(0.3, 0.9), (1.0, 0.52)])
def test_labels_that_depend_on_whether_stable_was_right_pass_no_worse_version(wrong: float, right: float) -> None:
    made = trial(0, terms(3000), Behaviour(wrong=0.11), paired=right, paired_wrong=wrong)
    for _ in range(60):
        made.look()
    assert made.outcome is None or made.outcome.action is Action.ROLLBACK
    assert all(one.verdict is not Verdict.PASS for one in made.decisions[-1].gates if one.gate == "paired_accuracy")


def test_how_far_labels_may_mislead_is_known_from_rows_on_which_versions_differ() -> None:
    rng, n, differ = np.random.default_rng(4), 200_000, 0.1
    # Versions alike: each is wrong alone on half of the rows on which they differ.
    rows = rng.random(n) < differ
    stable_alone = rows & (rng.random(n) < 0.5)
    labelled = rng.random(n) < np.where(stable_alone, 0.5, 0.9)
    seen = labelled & rows
    truly = ((seen & ~stable_alone).sum() - (seen & stable_alone).sum()) / labelled.sum()
    agreeing = int((labelled & ~rows).sum())
    found = misleading(SliceCounts(n, n, Labels(int(labelled.sum()), agreeing=agreeing), agreeing=int((~rows).sum())))
    assert found == pytest.approx(truly, abs=0.002)


def mirrored(noted: int, agreeing: int, labelled: int, labelled_agreeing: int, alone: int = 0) -> SliceCounts:
    test = Labels(labelled, alone, alone=alone, agreeing=labelled_agreeing)
    return SliceCounts(noted, noted, test, Labels(labelled, agreeing=labelled_agreeing), agreeing)


def test_labels_of_all_rows_mislead_nobody_and_those_of_none_do() -> None:
    assert misleading(mirrored(100, 60, 100, 60)) == 0.0
    assert misleading(mirrored(100, 100, 50, 50)) == 0.0
    assert misleading(mirrored(100, 60, 0, 0)) == math.inf
    assert misleading(mirrored(100, 0, 80, 0)) == pytest.approx(0.25)


def test_a_version_far_worse_is_told_by_labels_that_mislead_a_little() -> None:
    maturity = LabelMaturity()
    assert is_fair(mirrored(1_000, 0, 900, 0, alone=900), 0.005, maturity)
    assert not is_fair(mirrored(1_000, 900, 900, 850, alone=20), 0.005, maturity)
    assert not is_fair(mirrored(1_000, 900, 400, 360), 0.005, maturity)


def test_evidence_of_pairs_holds_no_live_step_up() -> None:
    made = trial(0, terms(3000, 4000), paired=0.9)
    while made.step == 0:
        made.look()
    suspicious = tuple(
        replace(one, harm=means.update(one.harm, np.array((0.0, 90.0, 12.0)))) if isinstance(one, PairedGate) else one
        for one in made.state.gates
    )
    paired = next(one for one in suspicious if isinstance(one, PairedGate))
    assert paired.harm.log_e > 0.33 * log_threshold(made.fleet.terms.policy.gate_alpha(paired.gate))
    made.state = replace(made.state, gates=suspicious, paired=Ledger())
    decision = made.run(40)
    assert decision is not None
    assert (decision.action, decision.code) == (Action.PROMOTE, "SAFE")


def test_in_a_live_step_the_gate_is_not_required() -> None:
    made = trial(0, terms(3000, 4000), paired=0.9)
    decision = made.run(160)
    assert decision is not None
    assert decision.action is Action.PROMOTE
    assert [one.gate for one in decision.gates if one.required] == ["errors"]


def test_rows_that_both_have_right_or_wrong_are_counted_and_say_nothing() -> None:
    gate = PairedGate.open(GATE, 0.01).judge_harm(pairs(7, 3, 20, 70))
    assert gate.test_n == 100
    assert gate.wrong == (27, 23)
    assert gate.seen.tolist() == [3, 90, 7]
    assert gate.interval().estimate == pytest.approx(0.04)
    assert gate.restart().seen.tolist() == [3, 90, 7]


def test_evidence_expects_no_more_than_one_under_every_null() -> None:
    harm = PairedGate.open(GATE, 0.01).harm
    for shares in ((0.005, 0.01), (0.1, 0.105), (0.4, 0.405), (0.0, 0.005), (0.3, 0.1)):
        stable_alone, test_alone = shares
        chances = (stable_alone, 1.0 - stable_alone - test_alone, test_alone)
        expected = 0.0
        for a, b in itertools.product(range(7), repeat=2):
            if a + b <= 6:
                rows = np.array((a, 6.0 - a - b, b))
                found = means.update(harm, rows)
                expected += multinomial.pmf(rows, 6, chances) * math.exp(found.process.log_e)
        assert expected <= 1.0 + 1e-9


def test_it_finds_what_mcnemars_exact_test_finds_and_no_less_surely() -> None:
    rng, found, exact = np.random.default_rng(3), 0, 0
    gate = Gate("paired", MetricKind.PAIRED_ACCURACY, Need.ALWAYS, GateMargin(), GateMargin(offset=0.02), 1.0)
    for _ in range(200):
        opened, total = PairedGate.open(gate, 0.01), np.zeros(3, dtype=int)
        for _ in range(20):
            stable_alone, neither, test_alone = rng.multinomial(200, (0.02, 0.94, 0.04))
            opened = opened.judge_harm(pairs(test_alone, stable_alone, 0, neither))
            total += (stable_alone, neither, test_alone)
        found += opened.harm.max_log_e >= log_threshold(0.01)
        exact += binomtest(int(total[2]), int(total[0] + total[2]), alternative="greater").pvalue <= 0.01
    # The exact test looks once, at the end.
    assert found >= 0.9 * exact > 150


def refused(*gates: GateDraft, task: str = "classification", objective: Objective = Objective.NON_INFERIOR) -> str:
    found = complete_policy(PolicyDraft(gates=gates), Meaning(task, CLASSES), objective)[1]
    return "; ".join(one.description for one in found)


def test_what_the_gate_cannot_be_asked_for_is_refused() -> None:
    assert not refused(ERRORS, PAIRED)
    assert "is for a classification" in refused(ERRORS, PAIRED, task="regression")
    limited = GateDraft(MetricKind.PAIRED_ACCURACY, limit=Limit(at_least=0.9))
    assert "has no limit" in refused(ERRORS, limited)
    factor = GateDraft(MetricKind.PAIRED_ACCURACY, safe=GateMargin(1.5, 0.02))
    assert "is an offset" in refused(ERRORS, factor)
    primary = GateDraft(MetricKind.PAIRED_ACCURACY, primary=True)
    assert "no version is better in paired_accuracy" in refused(ERRORS, primary, objective=Objective.SUPERIOR)
    (violation,) = check_together(demo_policy(gates=(ERRORS, PAIRED)), demo_plan(3000))
    assert "is of SHADOW steps, and the plan has none" in violation.description


WIDE = replace(ERRORS, harm=GateMargin(1.0, 0.08), safe=GateMargin(1.0, 0.1))


@pytest.mark.parametrize(("mirrored", "errors"), [(0.95, 0.002), (1.0, 0.05)], ids=["no copy", "failed at"])
def test_rows_without_a_pair_may_be_those_that_the_version_gets_wrong(mirrored: float, errors: float) -> None:
    """A twentieth of the rows: a version that is wrong alone on these is worse by five points, and two are allowed."""
    asked = demo_terms(demo_policy(gates=(WIDE, PAIRED)), demo_plan(3000, shadow=1, period=120.0), features=0)
    made = trial(0, asked, Behaviour(errors=errors), paired=0.9, mirrored=mirrored)
    decision = made.run(64)
    assert decision is not None
    assert decision.at is not None
    assert (decision.action, decision.code) == (Action.CANCEL, "TOO_LITTLE_EVIDENCE"), decision.reason
    assert "% of the rows that v1's control process answered have an answer of v2 beside it, and 99.0 % are needed" in (
        decision.reason
    )
    waits = next(one.waits_for for one in decision.gates if one.gate == "paired_accuracy")
    assert waits.startswith("pairs of nearly all rows: 9")
    # What an older release concluded is replayed as it was.
    assert decide(made.state, replace(decision.at, rules=6)).code == "SHADOW_PASSED"


def test_up_to_half_of_the_margin_may_have_no_pair() -> None:
    assert unpaired(SliceCounts()) == unpaired(SliceCounts(101, 101, originals=100)) == 0.0
    assert unpaired(SliceCounts(95, 95, originals=100)) == pytest.approx(0.05)
    assert not may_hide(GATE, 0.0099)
    assert may_hide(GATE, 0.0101)
    assert not may_hide(replace(GATE, metric=MetricKind.ACCURACY), 0.5)


def test_a_slice_of_which_no_row_has_a_pair_is_one_of_them_all() -> None:
    """The version was away for as long as it lasted."""
    ledger = Ledger().plus({(2, 0): SliceCounts(100, 100, originals=100), (2, 1): SliceCounts(originals=100)})
    keys = ledger.aged(0.0, 25.0, 1.0, lambda _: 10.0)
    assert keys == [(2, 0), (2, 1)]
    assert unpaired(ledger.total(keys)) == 0.5
