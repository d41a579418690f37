"""The arms, the metrics that say something of them, and what of a process concerns a rollout."""

from collections.abc import Mapping
from typing import Final

from evaluator.terms import Profile, Terms
from evaluator.window.counts import Series
from evaluator.window.splits import whole
from services.common.telemetry import catalog

LIVE: Final = "live"
SHADOW: Final = "shadow"
CONTROL: Final = "control"
REDUCED: Final = "reduced"
"""Of the test version, while a Router's breaker keeps most requests from it."""
OK: Final = "ok"
NOT_TAKEN: Final = frozenset({"INPUT_REFUSED", "RESOURCE_EXHAUSTED", "UNAVAILABLE"})
"""Outcomes of attempts whose inputs a Worker does not count."""
CALLERS_FAULTS: Final = frozenset({"INVALID_ARGUMENT", "CANCELLED", "UNAUTHENTICATED", "PERMISSION_DENIED"})
"""Outcomes that say nothing of a version: the request was wrong, forbidden or given up."""

ATTEMPTS: Final = catalog.ATTEMPT_DURATION.name
INFERENCE: Final = catalog.INFERENCE_DURATION.name
PREDICTIONS: Final = catalog.PREDICTION_COUNT.name
FEEDBACK: Final = catalog.FEEDBACK_COUNT.name
FEEDBACK_ERROR: Final = catalog.FEEDBACK_ERROR.name
FEEDBACK_VALUE: Final = catalog.FEEDBACK_VALUE.name
INPUTS: Final = catalog.INPUT_COUNT.name
ALIKE_INPUTS: Final = catalog.INPUT_ALIKE.name
FORMER_INPUTS: Final = ("crossfade.input.count", "crossfade.input.alike")
"""The same in windows of the releases that did not count inputs by lane."""
LAG: Final = catalog.FEEDBACK_LAG.name
CLASS_LAG: Final = catalog.FEEDBACK_CLASS_LAG.name
LATE: Final = catalog.FEEDBACK_LATE_COUNT.name
DRAWN: Final = catalog.ROUTE_COUNT.name
PAIRS: Final = catalog.SHADOW_PAIR_COUNT.name
NOTED_PAIRS: Final = catalog.SHADOW_NOTED_COUNT.name
PAIRED_LABELS: Final = catalog.SHADOW_LABEL_COUNT.name
ALIKE: Final = catalog.FEEDBACK_ALIKE.name
ALIKE_ANSWERS: Final = catalog.PREDICTION_ALIKE.name
CALLER_ATTEMPTS: Final = catalog.CALLER_ATTEMPT_COUNT.name
CALLER_PREDICTIONS: Final = catalog.CALLER_PREDICTION_COUNT.name
CALLER_FEEDBACK: Final = catalog.CALLER_FEEDBACK_COUNT.name
COHORT_ATTEMPTS: Final = catalog.COHORT_ATTEMPT.name
COHORT_FEEDBACK: Final = catalog.COHORT_FEEDBACK.name
METRICS: Final = (
    ALIKE,
    ALIKE_ANSWERS,
    ALIKE_INPUTS,
    ATTEMPTS,
    CALLER_ATTEMPTS,
    CALLER_FEEDBACK,
    CALLER_PREDICTIONS,
    CLASS_LAG,
    COHORT_ATTEMPTS,
    COHORT_FEEDBACK,
    DRAWN,
    FEEDBACK,
    FEEDBACK_ERROR,
    FEEDBACK_VALUE,
    INFERENCE,
    INPUTS,
    LAG,
    LATE,
    NOTED_PAIRS,
    PAIRED_LABELS,
    PAIRS,
    PREDICTIONS,
)
"""All that a look reads."""
_BUT_ALIKE_ANSWERS: Final = tuple(one for one in METRICS if one != ALIKE_ANSWERS)


def read_of(terms: Terms) -> tuple[str, ...]:
    """The metrics that a look reads of a process.

    How alike the predictions of a request are would be most of an answer about many classes. Of so few that another
    policy could judge them it is read, and recorded, for a replay by that one.
    """
    judged = terms.balances or len(terms.declared) <= catalog.BALANCED_CLASSES
    return METRICS if judged else _BUT_ALIKE_ANSWERS


ELSEWHERE: Final = "elsewhere"
"""Attempts of other lanes at the processes that runtimes are compared of, as one count a lane and epoch."""

SAME_INPUTS: Final = "inputs.same"
"""The test arm's inputs by the stable version's profile: as crossfade.lane.input.count or, with a product, as
crossfade.lane.input.alike. They have a name of their own so that windows which older releases recorded have none."""
INPUTS_ELSEWHERE: Final = "elsewhere.inputs"
"""Attempts of other lanes, in windows of the releases that did not count inputs by lane: these are among either arm's.
Nothing counts them any more."""

OWN: Final = "custom"
"""The metric of counts that a policy asks Prometheus for by queries of its own."""
OWN_PROCESS: Final = "promql/"
"""What the names of the processes begin with that stand for their sets of labels."""

SliceKey = tuple[int, int]
"""An epoch and the slice's number in it."""

BalanceRow = tuple[tuple[int, ...], tuple[int, ...]]
"""Predictions by class of the test arm and of the stable arm, by one process."""

RuntimeRow = tuple[int, tuple[int, ...], tuple[int, ...]]
"""A batch size, and the test's and the control's batches by runtime."""
OF_INPUTS: Final = frozenset({INPUTS, ALIKE_INPUTS})
_BY_COHORT: Final = frozenset({COHORT_ATTEMPTS, COHORT_FEEDBACK})
TESTED: Final = frozenset({LIVE, SHADOW})
"""What the test arm gets: in one step callers' requests, in another copies of them, and never both in one epoch."""
COMPARED: Final = frozenset({LIVE, CONTROL})
"""What the stable arm gets."""


def concerns(one: Series, terms: Terms) -> bool:
    """Whether a series says anything of a rollout, and so is recorded."""
    at = one.values()
    version, traffic = at.get("version"), at.get("traffic")
    if one.metric == DRAWN:
        # It is of the lane and of no version.
        return at.get("segment") == terms.segment
    if "segment" in at and at["segment"] != terms.segment:
        return False
    if (one.metric in _BY_COHORT and not terms.sticky) or (one.metric == ALIKE_ANSWERS and not terms.balances):
        return False
    if version == terms.test and traffic == REDUCED:
        return one.metric == ATTEMPTS
    if version == terms.test and traffic in TESTED:
        return one.metric not in OF_INPUTS or is_of(terms.test_profile, at)
    if version == terms.stable and traffic in COMPARED:
        if one.metric == INFERENCE:
            return traffic == CONTROL
        return one.metric not in OF_INPUTS or is_of(terms.stable_profile, at)
    return False


def parse_slice(value: str) -> SliceKey | None:
    """Epoch and number of `{epoch}.{number}`; None: it has another form."""
    epoch, number = map(whole, value.partition(".")[::2])
    return None if epoch is None or number is None else (epoch, number)


BUCKETS: Final = len(catalog.INFERENCE_DURATION.bounds) + 1
"""Buckets of crossfade.inference.duration."""


def is_of(profile: Profile | None, at: Mapping[str, str]) -> bool:
    return profile is not None and at.get("profile") == profile.profile_id


def added(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    """Counts of the same buckets, added up."""
    return tuple(a + b for a, b in zip(one, other, strict=True))
