"""A lane that is new to labels: those of wrong answers may come late, and nobody knows yet."""

from evaluator.verdict.decision import Action, Decision
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin
from services.common.telemetry import catalog
from tests.fakes.metrics import Behaviour
from tests.fakes.rollouts import Trial, demo_plan, demo_policy, demo_terms, trial


def fresh(wrong: float, *, min_age: float | None) -> Trial:
    """A lane that is new to labels, and whose wrong answers are labelled half a minute later than right ones."""
    gates = (
        GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(1.5, 0.01)),
        GateDraft(MetricKind.ACCURACY, required=True, harm=GateMargin(1.0, 0.02), safe=GateMargin(1.0, 0.03)),
    )
    terms = demo_terms(demo_policy(gates=gates, min_age=min_age), demo_plan(3000, period=240.0), features=0)
    return trial(3, terms, Behaviour(wrong=wrong, missed=wrong), wrong_lag=30.0, positives=0.5)


def test_a_lane_that_is_new_to_labels_waits_for_late_ones_for_half_a_period() -> None:
    made = fresh(0.08, min_age=None)
    while made.seconds < 100.0:
        made.look()
    assert made.outcome is None
    waits = next(one.waits_for for one in made.decisions[-1].gates if one.gate == "accuracy")
    assert waits.startswith("labels that may be late: the lane is new to them, so half of the period is waited for (")
    decision = made.run(120)
    assert decision is not None
    assert decision.action is Action.PROMOTE, decision.reason


def test_a_worse_version_does_not_pass_by_the_labels_of_its_right_answers_alone() -> None:
    assert all(one.action is not Action.PROMOTE for one in _run(fresh(0.14, min_age=None)))
    # Who says how old labels must be is taken at his word.
    early = [one.action for one in _run(fresh(0.14, min_age=1.0))]
    assert Action.PROMOTE in early


def _run(made: Trial) -> list[Decision]:
    made.run(130)
    return made.decisions


def test_labels_that_wait_for_their_slices_end_say_so() -> None:
    accuracy = GateDraft(MetricKind.ACCURACY, required=True)
    terms = demo_terms(demo_policy(gates=(accuracy,), min_age=20.0), demo_plan(5000, period=3600.0), features=0)
    made = trial(1, terms)
    made.run(20)
    (report,) = made.decisions[-1].gates
    assert report.waits_for == "labels to be 20 s old, in slices of 5 min: the first is in 3 min"


def test_labels_that_come_too_late_to_count_show_no_version_safe() -> None:
    for lost, passes in ((1, True), (40, False)):
        made = fresh(0.08, min_age=1.0)
        router = made.fleet.routers[0].store
        for _ in range(110):
            router.counter(catalog.FEEDBACK_LATE_COUNT, "digits", "v2", "live", "").add(lost)
            if made.look().action is not Action.NONE:
                break
        assert (made.decisions[-1].action is Action.PROMOTE) is passes, made.decisions[-1].reason
    waits = next(one.waits_for for one in made.decisions[-2].gates if one.gate == "accuracy")
    assert waits.startswith("labels that come in time: ")
    assert " labels of v2 came too late to be counted, more than 2.00 %, and those may be of its wrong answers" in waits
    # Those of another lane are none of this one's.
    elsewhere = fresh(0.08, min_age=1.0)
    elsewhere.fleet.routers[0].store.counter(catalog.FEEDBACK_LATE_COUNT, "digits", "v2", "live", "eu").add(10**6)
    elsewhere.look()
    assert elsewhere.state.too_late == 0
    # Harm that the others show is harm.
    made = fresh(0.3, min_age=1.0)
    router = made.fleet.routers[0].store
    for _ in range(110):
        router.counter(catalog.FEEDBACK_LATE_COUNT, "digits", "v2", "live", "").add(40)
        if made.look().action is not Action.NONE:
            break
    assert (made.decisions[-1].action, made.decisions[-1].gate) == (Action.ROLLBACK, "accuracy")
