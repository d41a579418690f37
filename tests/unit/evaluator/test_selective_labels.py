"""Labels that come for some answers only: what mixes answers of several classes waits."""

import re
from dataclasses import replace

import pytest

from evaluator.evidence.answers import Answers, Apart
from evaluator.evidence.fold import fold_all
from evaluator.evidence.reach import ALIKE
from evaluator.gates.maturity import is_apart, is_misled
from evaluator.terms import Terms
from evaluator.verdict.decision import Action, Decision
from evaluator.window.answer_rows import answered_slices
from evaluator.window.arm_counts import ArmCounts
from evaluator.window.counts import Counts, InstanceCounts
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import EACH_CLASS, MetricKind
from services.common.policy.records import Gate, GateMargin, LabelMaturity, Limit, Need
from tests.fakes.metrics import CLASSES, Behaviour
from tests.fakes.rollouts import Trial, demo_plan, demo_policy, demo_terms, trial
from tests.unit.evaluator.counted import series, window


def one_gate(metric: MetricKind, positive: str = "", **changes: object) -> Terms:
    """A required gate beside errors, in an A/B-like split, with labels of every answer old enough at once."""
    draft = GateDraft(metric, required=True, positive=positive, **changes)  # type: ignore[arg-type] # fields by name
    gates = (GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(1.5, 0.01)), draft)
    return demo_terms(demo_policy(gates=gates, min_age=10.0), demo_plan(3000, period=240.0), features=0)


def run(made: Trial, looks: int = 130) -> Decision:
    made.run(looks)
    return made.decisions[-1]


RECALL = one_gate(MetricKind.RECALL, CLASSES[0])
WORSE = Behaviour(missed=0.15)
"""It misses 15 % of the positives, and stable 8 %."""


def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coverage is one number per arm, and what lies between the arms' is looked at no further."""
    monkeypatch.setattr(Answers, "apart", lambda *_: ())
    monkeypatch.setattr("evaluator.evidence.label_looks.reach", lambda *_: ALIKE)


def test_a_version_that_misses_more_is_not_promoted_by_labels_of_what_it_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """All answers 3 have labels and one in ten answers 7, in both arms alike."""
    for seed in range(3):
        decision = run(trial(seed, RECALL, WORSE, positives=0.5, seldom=0.1, labelled=1.0))
        assert decision.action in {Action.CANCEL, Action.ROLLBACK}, decision.reason
    blind(monkeypatch)
    actions = [run(trial(seed, RECALL, WORSE, positives=0.5, seldom=0.1, labelled=1.0)).action for seed in range(3)]
    assert Action.PROMOTE in actions


def test_people_are_told_which_answers_have_labels_and_what_to_do() -> None:
    made = trial(1, RECALL, positives=0.5, seldom=0.1, labelled=1.0)
    made.run(40)
    report = made.decisions[-1].gates[1]
    told = re.fullmatch(
        "labels that reach the answers of all classes alike: 100.0 % of v1's answers 3 have a label and (.*) % of its "
        "answers 7, where 20.0 % less than the higher is allowed; what was missed may be among those without: label a "
        "random sample of both, or set labels.min_age where some labels come later",
        report.waits_for,
    )
    assert told is not None, report.waits_for
    assert 9.0 < float(told[1]) < 11.0
    assert made.decisions[-1].reason.startswith("waits: labels do not reach the answers of all classes alike: 100.0 %")
    decision = run(made)
    assert (decision.action, decision.code) == (Action.CANCEL, "TOO_LITTLE_EVIDENCE")
    assert decision.reason.startswith("the period ended, and labels do not reach the answers of all classes alike: ")


@pytest.mark.parametrize(
    "terms",
    [RECALL, one_gate(MetricKind.ACCURACY), one_gate(MetricKind.F1, EACH_CLASS, safe=GateMargin(offset=0.05))],
    ids=["recall", "accuracy", "f1 of every class"],
)
@pytest.mark.parametrize("labelled", [0.95, 0.6])
def test_labels_of_a_random_sample_promote(terms: Terms, labelled: float) -> None:
    for seed in range(2):
        made = trial(seed, terms, positives=0.3, labelled=labelled)
        decision = run(made)
        assert decision.action is Action.PROMOTE, decision.reason
        assert not any("all classes" in one.reason for one in made.decisions)


def test_labels_that_are_late_alike_hold_nothing_for_their_class() -> None:
    """Positives, one row in ten, are labelled half a minute before all others, which the lane knows."""
    terms = demo_terms(
        demo_policy(gates=(GateDraft(MetricKind.ACCURACY, required=True),), min_age=None),
        demo_plan(3000, period=480.0),
        features=0,
    )
    made = trial(0, terms, positives=0.1, negative_lag=30.0, labelled=0.9)
    decision = run(made, 250)
    assert decision.action is Action.PROMOTE, decision.reason
    assert not any("all classes" in one.reason for one in made.decisions)


def test_precision_is_of_answers_of_one_class_and_waits_for_no_others() -> None:
    made = trial(0, one_gate(MetricKind.PRECISION, CLASSES[0]), positives=0.5, seldom=0.1, labelled=1.0)
    decision = run(made)
    # Of all answers 55 % have a label.
    assert decision.action is Action.PROMOTE, decision.reason


def test_a_model_that_answers_one_class_alone_waits_for_no_other() -> None:
    always = Behaviour(missed=1.0, wrong=0.0)
    made = trial(0, one_gate(MetricKind.ACCURACY), always, positives=0.3, labelled=0.8)
    made.fleet.stable = always
    decision = run(made)
    assert decision.action is Action.PROMOTE, decision.reason


@pytest.mark.parametrize(
    "terms",
    [
        one_gate(MetricKind.ACCURACY, harm=GateMargin(offset=0.01), safe=GateMargin(offset=0.03)),
        one_gate(MetricKind.F1, CLASSES[0], harm=GateMargin(offset=0.005)),
        one_gate(MetricKind.FALSE_POSITIVE_RATE, CLASSES[0], limit=Limit(at_most=0.15)),
    ],
    ids=["accuracy", "f1", "limit"],
)
def test_a_version_as_good_is_not_blamed_for_what_is_labelled(terms: Terms, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes more 7 for 3 than stable does, and fewer 3 for 7: as many in all, of which the former are seen."""
    as_good = Behaviour(wrong=0.12, missed=0.04)
    assert run(trial(0, terms, as_good, positives=0.5, seldom=0.05, labelled=1.0)).action is Action.CANCEL
    blind(monkeypatch)
    assert run(trial(0, terms, as_good, positives=0.5, seldom=0.05, labelled=1.0)).action is Action.ROLLBACK


def test_harm_that_labels_of_few_answers_cannot_turn_round_is_seen_all_the_same() -> None:
    decision = run(trial(0, RECALL, Behaviour(missed=0.5), positives=0.5, seldom=0.1, labelled=1.0))
    assert (decision.action, decision.gate) == (Action.ROLLBACK, "recall")


def test_what_was_held_back_is_taken_when_labels_of_the_others_have_come() -> None:
    """Negatives are labelled forty seconds after positives, and the policy says that labels are complete at once."""
    gates = (GateDraft(MetricKind.RECALL, required=True, positive=CLASSES[0]),)
    terms = demo_terms(demo_policy(gates=gates, min_age=1.0), demo_plan(3000, period=480.0), features=0)
    made = trial(0, terms, positives=0.5, negative_lag=40.0, labelled=1.0)
    made.run(26)
    assert made.outcome is None
    assert made.state.standing_out(terms.policy.gates[0]) is not None
    assert "safe recall" not in made.state.ledger.taken_by
    made.run(200)
    assert made.outcome is not None
    assert made.outcome.action is Action.PROMOTE, made.outcome.reason
    taken = made.state.ledger.taken_by["safe recall"]
    assert min(taken) == min(key for key in made.state.ledger.slices if key[0] == made.fleet.epoch)


def without_predicted(counts: Counts) -> Counts:
    """Labels as they are of a model with more than 32 classes: by whether they are right."""
    return tuple(
        InstanceCounts(
            one.instance_id,
            one.read_us,
            tuple(
                replace(
                    each,
                    attributes=tuple(
                        ("predicted", "") if name == "predicted" else (name, value) for name, value in each.attributes
                    ),
                )
                for each in one.series
            ),
        )
        for one in counts
    )


def test_windows_that_say_nothing_of_predicted_classes_are_judged_as_they_were() -> None:
    made = trial(0, one_gate(MetricKind.ACCURACY), positives=0.5, seldom=0.1, labelled=1.0)
    made.run(40)
    looks = [replace(look, window=without_predicted(look.window)) for look in made.looks]
    state = fold_all(made.fleet.terms, looks)
    assert state.apart == ()
    assert state.gates[1].step_n > 0
    assert fold_all(made.fleet.terms, made.looks).apart == made.state.apart != ()


def test_answers_are_counted_by_slice_and_predicted_class() -> None:
    at = {"version": "v2", "traffic": "live", "segment": "", "slice": "2.5"}
    stable = {"version": "v1", "traffic": "control", "segment": "", "slice": "2.5"}
    found = (
        series("crossfade.prediction.count", 3, 7, labels=("3", "7"), **at),
        series("crossfade.prediction.count", 30, 0, labels=("3", "7"), **stable),
        series("crossfade.feedback.count", 1, 4, labels=("3", "7"), predicted="7", **at),
        series("crossfade.feedback.count", 2, labels=("3",), predicted="3", **stable),
        series("crossfade.feedback.count", 9, labels=("3",), predicted="", correct="true", **stable),
        series("crossfade.feedback.count", 9, labels=("3",), predicted="3", **(at | {"slice": "x"})),
        series("crossfade.feedback.count", 9, labels=("3",), predicted="3", **(at | {"traffic": "pinned"})),
    )
    both = window(*found) + window(found[2], name="b")
    assert answered_slices(ArmCounts(both, demo_terms(features=0))) == {
        (2, 5): ({"3": (3, 0), "7": (7, 10)}, {"3": (30, 2)}),
    }


def test_a_class_stands_out_materially_and_beyond_chance() -> None:
    terms, maturity = demo_terms(features=0), LabelMaturity()
    at = {"version": "v1", "traffic": "live", "segment": "", "slice": "2.5"}

    def apart(
        labels: tuple[int, int, int], maturity: LabelMaturity = maturity, effect: float = 1.0
    ) -> tuple[Apart, ...]:
        counted = [series("crossfade.prediction.count", 100, 2000, 2000, labels=("a", "b", "c"), **at)]
        counted += [
            series("crossfade.feedback.count", rows, labels=("a",), predicted=name, **at)
            for name, rows in zip("abc", labels, strict=True)
        ]
        return Answers().plus(ArmCounts(window(*counted), terms)).apart([(2, 5), (2, 6)], maturity, effect)

    assert apart((50, 1000, 1000)) == apart((40, 1000, 1000)) == apart((50, 1000, 1190)) == ()
    (one,) = apart((100, 1000, 1000))
    assert (one.name, one.others, one.arm, one.coverage) == ("a", "", 1, (1.0, 0.5))
    assert one.moved < 0.025
    assert [one.name for one in apart((50, 1000, 1700))] == ["c", "b"]
    assert apart((50, 1000, 1700), LabelMaturity(max_coverage_gap=0.5)) == ()
    assert apart((100, 1000, 1000), effect=10.0) == ()


def test_a_fifth_of_the_higher_coverage_is_allowed() -> None:
    maturity = LabelMaturity()
    assert [is_apart(ratio, maturity) for ratio in (0.0, 0.79, 0.81, 1.0, 1.24, 1.26, float("inf"))] == [
        True, True, False, False, False, True, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "positive", "moved", "misled"),
    [
        (MetricKind.ACCURACY, "", 0.011, True),
        # A class that is hardly ever answered says little of all answers.
        (MetricKind.ACCURACY, "", 0.009, False),
        (MetricKind.RECALL, "b", 0.0, True),
        (MetricKind.F1, "b", 0.0, True),
        (MetricKind.F1, EACH_CLASS, 0.0, True),
        (MetricKind.FALSE_POSITIVE_RATE, "a", 0.0, True),
        (MetricKind.FALSE_POSITIVE_RATE, "b", 0.5, False),
        (MetricKind.FALSE_POSITIVE_RATE, EACH_CLASS, 0.0, True),
        (MetricKind.PRECISION, "a", 0.5, False),
        (MetricKind.VALUE, "", 0.5, False),
        (MetricKind.ABSOLUTE_ERROR, "", 0.5, False),
    ],
)
def test_a_class_misleads_what_mixes_its_answers_with_others(
    metric: MetricKind, positive: str, moved: float, misled: bool
) -> None:
    gate = Gate("it", metric, Need.ALWAYS, GateMargin(), GateMargin(offset=0.02), 0.1, positive)
    assert is_misled(gate, "a", moved) is misled


def test_a_floor_for_callers_goes_by_all_of_the_lanes_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    gates = (
        GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(1.5, 0.01)),
        GateDraft(MetricKind.ACCURACY, required=True, segment="eu"),
    )
    terms = demo_terms(demo_policy(gates=gates, min_age=10.0), demo_plan(3000, period=240.0), features=0)
    made = trial(0, terms, positives=0.5, seldom=0.1, labelled=0.9, european=0.5)
    made.run(40)
    report = made.decisions[-1].gates[1]
    assert report.waits_for.startswith("labels for callers in eu that reach the answers of all classes alike: ")
    assert made.state.gates[1].step_n == 0
    blind(monkeypatch)
    made = trial(0, terms, positives=0.5, seldom=0.1, labelled=0.9, european=0.5)
    made.run(40)
    assert made.state.gates[1].step_n > 0
