"""Every metric of Crossfade: name, kind, unit, bounds and attributes. One source per gate."""

from dataclasses import dataclass
from enum import StrEnum
from types import ModuleType
from typing import Final

from services.common.telemetry.bounds import CALL_BOUNDS, ERROR_BOUNDS, INFERENCE_BOUNDS, LAG_BOUNDS, VALUE_BOUNDS


class Kind(StrEnum):
    """How a metric adds up; all but gauges are cumulative since the process's start."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One metric. The catalog holds the only instance of each, so metrics compare and hash by identity.

    Attributes:
        name: as in OpenTelemetry.
        kind: how it adds up.
        unit: UCUM, as OpenTelemetry asks: `s`, `1`.
        description: one sentence.
        attributes: names of its attributes, in the order of a series' values.
        bounds: a histogram's upper bounds, ascending; a value equal to a bound belongs below it.
        spread: for a counter kept as an array: the attribute that its entries stand for.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    attributes: tuple[str, ...]
    bounds: tuple[float, ...] = ()
    spread: str = ""

    @property
    def is_evidence(self) -> bool:
        """Whether it is there to be judged by: its series are as many as the classes, bins, cohorts, callers or slices.

        Those who run the services have no use for them, and reading them all takes long.
        """
        return bool(self.spread) or self.bounds == _COHORT_BOUNDS or not _OF_EVIDENCE.isdisjoint(self.attributes)


def declared(module: ModuleType) -> tuple[Metric, ...]:
    """The metrics that a module names, in its order."""
    return tuple(one for one in vars(module).values() if isinstance(one, Metric))


_OF_EVIDENCE: Final = frozenset({"slice", "caller", "stable", "test", "actual"})
"""Attributes with as many values as there are slices, callers or classes (of a mirrored request's two answers)."""


_ARM: Final = ("model", "version", "traffic")

ATTEMPT_DURATION: Final = Metric(
    "crossfade.attempt.duration",
    Kind.HISTOGRAM,
    "s",
    "Time of one attempt at one version, as the Router saw it; of a stream to its first part.",
    (*_ARM, "segment", "outcome", "epoch"),
    CALL_BOUNDS,
)
PROBED: Final = 0.01
"""Part of the requests drawn for a test version that its Router's breaker, while open, lets through: those attempts are
counted with traffic `reduced`."""
ROUTE_DURATION: Final = Metric(
    "crossfade.route.duration",
    Kind.HISTOGRAM,
    "s",
    "Time of one Predict call, as its caller saw it; of a stream to its first part.",
    (*_ARM, "segment", "outcome"),
    CALL_BOUNDS,
)
WORKER_DURATION: Final = Metric(
    "crossfade.worker.duration",
    Kind.HISTOGRAM,
    "s",
    "Time of one Predict call inside the Worker; of a stream to its first part.",
    (*_ARM, "segment", "outcome", "epoch"),
    CALL_BOUNDS,
)
ROUTE_COUNT: Final = Metric(
    "crossfade.route.count",
    Kind.COUNTER,
    "1",
    "Requests by the arm that was drawn for them, where each is drawn by itself.",
    ("model", "segment", "arm", "epoch"),
)
QUEUE_DURATION: Final = Metric(
    "crossfade.queue.duration",
    Kind.HISTOGRAM,
    "s",
    "Time that a request waited for the device.",
    _ARM,
    INFERENCE_BOUNDS,
)
STREAM_DURATION: Final = Metric(
    "crossfade.stream.duration",
    Kind.HISTOGRAM,
    "s",
    "Time of one answer in parts inside the Worker, from its request to its end.",
    (*_ARM, "outcome"),
    CALL_BOUNDS,
)
STREAM_PART_COUNT: Final = Metric(
    "crossfade.stream.part.count",
    Kind.COUNTER,
    "1",
    "Parts of answers that were sent.",
    _ARM,
)
INFERENCE_DURATION: Final = Metric(
    "crossfade.inference.duration",
    Kind.HISTOGRAM,
    "s",
    "Time of one batch on the device.",
    (*_ARM, "batch", "precision"),
    INFERENCE_BOUNDS,
)
PREDICTION_COUNT: Final = Metric(
    "crossfade.prediction.count",
    Kind.COUNTER,
    "1",
    "Predicted rows by class (up to 1,000 classes): of each answer those that its prediction id states, at most 64.",
    (*_ARM, "segment", "slice"),
    spread="class",
)
ALIKE_PRODUCTS: Final = ("class", "rows")
PREDICTION_ALIKE: Final = Metric(
    "crossfade.prediction.alike",
    Kind.COUNTER,
    "1",
    "Over requests of several rows, sums of products of a class's rows with the class's and with all, less the rows "
    "themselves: how alike the predictions of one request are.",
    (*_ARM, "segment", "slice", "product"),
    spread="class",
)
COUNTED_CLASSES: Final = 1_000
"""Rows and labels of a model with more classes are not counted by the class: of 10,000 a version's counts would take
47 MB in 16 slices, and an Evaluator could not read them any more."""
BALANCED_CLASSES: Final = 100
"""How often each class is predicted is judged of a model with up to as many."""
PREDICTED_CLASSES: Final = 32
"""Labels of a model with up to as many classes are counted by the predicted class too."""
FEEDBACK_COUNT: Final = Metric(
    "crossfade.feedback.count",
    Kind.COUNTER,
    "1",
    "Labelled rows: predicted (up to 32 classes) and actual class (up to 1,000), and whether they agree.",
    (*_ARM, "segment", "slice", "predicted", "actual", "correct"),
)
ALIKE_SUMS: Final = ("rows_rows", "wrong_rows", "wrong_wrong")
FEEDBACK_ALIKE: Final = Metric(
    "crossfade.feedback.alike",
    Kind.COUNTER,
    "1",
    "Sums over requests of products of their labelled rows and wrong ones: how alike the rows of one request are.",
    (*_ARM, "segment", "slice"),
    spread="sum",
)
FEEDBACK_DUPLICATE_COUNT: Final = Metric(
    "crossfade.feedback.duplicate.count",
    Kind.COUNTER,
    "1",
    "Labels that came again for the same row.",
    _ARM,
)
FEEDBACK_LATE_COUNT: Final = Metric(
    "crossfade.feedback.late.count",
    Kind.COUNTER,
    "1",
    "Labels that came too late to count: what their slice counted is gone, or their version.",
    (*_ARM, "segment"),
)
FEEDBACK_LAG: Final = Metric(
    "crossfade.feedback.lag",
    Kind.HISTOGRAM,
    "s",
    "Time from prediction to label, of right and of wrong answers.",
    (*_ARM, "correct"),
    LAG_BOUNDS,
)
FEEDBACK_CLASS_LAG: Final = Metric(
    "crossfade.feedback.class.lag",
    Kind.HISTOGRAM,
    "s",
    "Time from prediction to label by the actual class, of a model with up to 32.",
    (*_ARM, "actual"),
    LAG_BOUNDS,
)
FEEDBACK_VALUE: Final = Metric(
    "crossfade.feedback.value",
    Kind.HISTOGRAM,
    "1",
    "Numbers that callers reported for predictions (engagement, revenue).",
    (*_ARM, "segment", "slice"),
    VALUE_BOUNDS,
)
FEEDBACK_ERROR: Final = Metric(
    "crossfade.feedback.error",
    Kind.HISTOGRAM,
    "1",
    "Absolute error of a regression's predictions, by what turned out to be true.",
    (*_ARM, "segment", "slice"),
    ERROR_BOUNDS,
)
COHORTS: Final = 50
"""Cohorts of routing keys: bucket b of a lane is in cohort b mod 50, so that every arm has some of each."""
_COHORT_BOUNDS: Final = tuple(float(number) for number in range(COHORTS - 1))
COHORT_ATTEMPT: Final = Metric(
    "crossfade.cohort.attempt",
    Kind.HISTOGRAM,
    "1",
    "Attempts under KEY assignment by the cohort of their key: a bucket for each of the 50.",
    (*_ARM, "segment", "outcome", "epoch"),
    _COHORT_BOUNDS,
)
COHORT_FEEDBACK: Final = Metric(
    "crossfade.cohort.feedback",
    Kind.HISTOGRAM,
    "1",
    "Labels (good: right) and reported numbers (good: above 0) under KEY assignment by the cohort of their key.",
    (*_ARM, "segment", "slice", "observed", "good"),
    _COHORT_BOUNDS,
)
CALLER_ATTEMPT_COUNT: Final = Metric(
    "crossfade.caller.attempt.count",
    Kind.COUNTER,
    "1",
    "Attempts of callers in a segment that a gate watches by itself.",
    (*_ARM, "segment", "outcome", "epoch", "caller"),
)
CALLER_FEEDBACK_COUNT: Final = Metric(
    "crossfade.caller.feedback.count",
    Kind.COUNTER,
    "1",
    "Labelled rows of callers in a segment that a gate watches by itself, by whether the prediction was right.",
    (*_ARM, "segment", "slice", "caller", "correct"),
)
CALLER_PREDICTION_COUNT: Final = Metric(
    "crossfade.caller.prediction.count",
    Kind.COUNTER,
    "1",
    "Predicted rows, of those that take labels, for callers in a segment that a gate watches by itself.",
    (*_ARM, "segment", "slice", "caller"),
)
SHADOW_PAIR_COUNT: Final = Metric(
    "crossfade.shadow.pair.count",
    Kind.COUNTER,
    "1",
    "Mirrored requests by what stable and the test version answered: classes, or equal, near and far.",
    (*_ARM, "segment", "stable", "test"),
)
SHADOW_LABEL_COUNT: Final = Metric(
    "crossfade.shadow.label.count",
    Kind.COUNTER,
    "1",
    "Labelled rows of mirrored requests by whether the versions agree, and by whether each was right.",
    (*_ARM, "segment", "slice", "agree", "stable", "test"),
)
SHADOW_NOTED_COUNT: Final = Metric(
    "crossfade.shadow.noted.count",
    Kind.COUNTER,
    "1",
    "Rows of mirrored requests that take labels, by whether the versions agree.",
    (*_ARM, "segment", "slice", "agree"),
)
SHADOW_DROPPED_COUNT: Final = Metric(
    "crossfade.shadow.dropped.count",
    Kind.COUNTER,
    "1",
    "Requests that were not mirrored or whose pair was not compared, by why.",
    (*_ARM, "segment", "reason"),
)
INPUT_COUNT: Final = Metric(
    "crossfade.lane.input.count",
    Kind.COUNTER,
    "1",
    "Rows of live traffic by feature and bin of a reference profile.",
    (*_ARM, "segment", "feature", "profile"),
    spread="bin",
)
INPUT_ALIKE: Final = Metric(
    "crossfade.lane.input.alike",
    Kind.COUNTER,
    "1",
    "Over requests of several rows, sums of products of the rows up to a bin with these and with all, less the rows "
    "themselves: how alike the inputs of one request are.",
    (*_ARM, "segment", "feature", "profile", "product"),
    spread="bin",
)
INPUT_INVALID_COUNT: Final = Metric(
    "crossfade.input.invalid.count",
    Kind.COUNTER,
    "1",
    "Values that no bin holds.",
    (*_ARM, "feature", "reason"),
)
ROUTE_SHARE: Final = Metric(
    "crossfade.route.share",
    Kind.GAUGE,
    "1",
    "Share of the lane's requests in force, in basis points.",
    (*_ARM, "segment"),
)
CONTROL_PLANE_AGE: Final = Metric(
    "crossfade.route.table.age",
    Kind.GAUGE,
    "s",
    "Time since the Registry last confirmed the routing table.",
    (),
)

SPLIT_ATTRIBUTES: Final = frozenset({"epoch", "slice"})
"""Attributes within which the arms are compared: such series can be counted from zero whenever a process appears."""
KEPT_EPOCHS: Final = 4
"""Epochs of a lane whose series a process keeps."""
KEPT_SLICES: Final = 16
"""Slices of a lane whose series a process keeps; of labels also older ones: `services.common.kept_slices`."""
