"""By what a rollout is judged, and how it proceeds: the policy and the plan with every default filled in."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from services.common.policy.metrics import BUCKET_METRICS, LABEL_METRICS, PAIRED_METRICS, QUALITY_METRICS, MetricKind

_MEETS: Final = 1.1
"""Harm and safe meet where safe's offset is no more than so many times that of harm."""


class Need(StrEnum):
    """Whether promotion needs a gate's PASS."""

    ALWAYS = "always"
    WITH_LABELS = "with_labels"
    """Only where the lane gets labels: some were counted for its stable version."""
    NEVER = "never"


class Objective(StrEnum):
    """What the test version must show."""

    NON_INFERIOR = "non_inferior"
    """It is no worse than stable: a canary."""
    SUPERIOR = "superior"
    """It is better than stable in the primary gate's metric: an A/B test."""


class PeriodEnd(StrEnum):
    """What happens when a step's period ends and the evidence is too thin to go on."""

    INCONCLUSIVE = "inconclusive"
    HOLD = "hold"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class GateMargin:
    """How much worse than stable counts as worse: test <= offset + factor * stable.

    Attributes:
        factor: multiplies stable's rate, at least 1.
        offset: added to it, as a rate (0.01 is one point). Of a runtime's safe margin: by how much the share of the
            batches beyond stable's p99 and the buckets may be greater than stable's beyond its p99; 0: nobody asks.
        buckets: for runtimes and absolute errors, instead of both: buckets of the geometric histogram (one is 9.05 %).
    """

    factor: float = 1.0
    offset: float = 0.0
    buckets: int = 0


@dataclass(frozen=True, slots=True)
class Limit:
    """A number that a metric itself must keep to; exactly one of the first three is given.

    Attributes:
        at_least: for a share of which more is better.
        at_most: for a share of which less is better.
        seconds: for runtimes, at most.
        quantile: for runtimes, the share of the batches that must keep to `seconds`; 0: the mean must.
    """

    at_least: float | None = None
    at_most: float | None = None
    seconds: float | None = None
    quantile: float = 0.0

    def bad_rate(self) -> float:
        """The share of what is bad that is allowed: at most `at_most`, or what `at_least` leaves."""
        if self.at_most is not None:
            return self.at_most
        if self.at_least is None:
            raise ValueError("a limit in seconds is no rate")
        return 1.0 - self.at_least


@dataclass(frozen=True, slots=True)
class Gate:
    """One metric, one direction, one margin.

    Attributes:
        name: unique within the policy.
        metric: what is watched.
        need: whether promotion needs its PASS; a gate that it does not need can still roll back.
        harm: beyond this the version is rolled back.
        safe: within this the version is no worse.
        share: of alpha_rollback, the part that this gate may spend; the shares of a policy add up to 1. Input drift has
            none, for it never rolls back.
        positive: the class that counts as positive, for the metrics of one class; or EACH_CLASS.
        limit: what the metric is judged against instead of stable's; then `harm` and `safe` say nothing.
        better: by how much the version must be better, for the primary gate of an A/B test; None: for all others.
        above: for reported values: what is above it counts as good; a bound of crossfade.feedback.value.
        bad_query: for counts of the user's own: PromQL that gives those that are bad, per version.
        total_query: PromQL that gives all of them.
        segment: the segment of the callers whose requests it watches alone; empty: all.
    """

    name: str
    metric: MetricKind
    need: Need
    harm: GateMargin
    safe: GateMargin
    share: float
    positive: str = ""
    limit: Limit | None = None
    better: GateMargin | None = None
    above: float = 0.0
    bad_query: str = ""
    total_query: str = ""
    segment: str = ""

    @property
    def margins_meet(self) -> bool:
        """Whether nearly nothing lies between harm and safe, so that no number of requests shows a harm of `safe`."""
        if self.limit is not None or self.better is not None or self.metric is MetricKind.INPUT_DRIFT:
            return False
        if self.metric in BUCKET_METRICS:
            return self.safe.buckets <= self.harm.buckets
        return self.safe.offset <= _MEETS * self.harm.offset


@dataclass(frozen=True, slots=True)
class LabelMaturity:
    """When the labels of a slice are complete enough to say "no worse".

    Attributes:
        min_coverage: smallest share of the predictions that have labels, in both arms.
        min_age: seconds since the slice's end; with `follows_lag` at least.
        max_coverage_gap: largest difference of the two arms' coverage; twice that, as a part of the higher one, may the
            coverages of predicted classes differ by within an arm.
        follows_lag: the age is also that at which nearly all labels had come so far. False: `min_age` was asked for.
        judge_young: accuracy's harm is judged by slices of any age too.
    """

    min_coverage: float = 0.5
    min_age: float = 60.0
    max_coverage_gap: float = 0.1
    follows_lag: bool = True
    judge_young: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """By what a rollout is judged; times in seconds.

    Attributes:
        gates: at least one that promotion needs.
        look_interval: time between two looks.
        settling: after a change of share, counts are recorded and not judged for this long at least.
        alpha_rollback: largest probability of rolling back a version as good as stable, over the whole rollout.
        alpha_promote: largest probability that one gate passes a version at its safe margin.
        period_end: what happens at the end of a step's period without enough evidence.
        power: that the period's end must have had to promote without proof.
        labels: when labels count for "no worse".
        drift_margin: shift of a cumulative proportion that counts as drift.
        stale_after: metrics older than this hold the rollout.
        fresh_instances: share of the instances whose metrics must be fresh for a promotion.
        objective: what the version must show.
    """

    gates: tuple[Gate, ...]
    look_interval: float = 30.0
    settling: float = 30.0
    alpha_rollback: float = 0.01
    alpha_promote: float = 0.05
    period_end: PeriodEnd = PeriodEnd.INCONCLUSIVE
    power: float = 0.95
    labels: LabelMaturity = field(default_factory=LabelMaturity)
    drift_margin: float = 0.1
    stale_after: float = 90.0
    fresh_instances: float = 0.95
    objective: Objective = Objective.NON_INFERIOR

    def gate_alpha(self, gate: Gate) -> float:
        """The probability with which this gate alone may roll back a version as good as stable."""
        return self.alpha_rollback * gate.share


@dataclass(frozen=True, slots=True)
class Step:
    """One stretch of a rollout with one share.

    Attributes:
        share_bps: the test version's share of the lane's requests, in basis points.
        min_duration: seconds that it lasts at least, however clear the evidence.
        period: seconds after which it is decided if it was not before.
        shadow: the test version gets a copy of its share of the requests, and its answers are discarded.
    """

    share_bps: int = 500
    min_duration: float = 0.0
    period: float = 3600.0
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a rollout, in order: SHADOW ones first, shares never falling among those of one mode."""

    steps: tuple[Step, ...] = (Step(),)


SLICES_PER_PERIOD: Final = 12
"""Slices of routing time within which labels are compared."""

DEFAULT_HARM: Final[dict[MetricKind, GateMargin]] = {
    MetricKind.ERRORS: GateMargin(factor=1.1, offset=0.0005),
    MetricKind.RUNTIME: GateMargin(buckets=1),
    MetricKind.INPUT_DRIFT: GateMargin(),
    **dict.fromkeys(LABEL_METRICS, GateMargin(offset=0.005)),
    MetricKind.ABSOLUTE_ERROR: GateMargin(buckets=1),
    MetricKind.CLASS_BALANCE: GateMargin(offset=0.02),
    **dict.fromkeys(PAIRED_METRICS, GateMargin(offset=0.005)),
    MetricKind.CUSTOM: GateMargin(factor=1.1, offset=0.005),
}
"""Beyond these the version is rolled back."""
DEFAULT_SAFE: Final[dict[MetricKind, GateMargin]] = {
    MetricKind.ERRORS: GateMargin(factor=1.5, offset=0.0025),
    MetricKind.RUNTIME: GateMargin(buckets=2, offset=0.02),
    MetricKind.INPUT_DRIFT: GateMargin(),
    **dict.fromkeys(LABEL_METRICS, GateMargin(offset=0.02)),
    MetricKind.ABSOLUTE_ERROR: GateMargin(buckets=2),
    MetricKind.CLASS_BALANCE: GateMargin(offset=0.05),
    **dict.fromkeys(PAIRED_METRICS, GateMargin(offset=0.02)),
    MetricKind.CUSTOM: GateMargin(factor=1.5, offset=0.02),
}
"""Within these the version is no worse."""
DEFAULT_WEIGHT: Final[dict[MetricKind, float]] = {
    MetricKind.ERRORS: 0.4,
    MetricKind.RUNTIME: 0.3,
    MetricKind.INPUT_DRIFT: 0.0,
    **dict.fromkeys(QUALITY_METRICS, 0.3),
    MetricKind.CUSTOM: 0.3,
}
"""Shares of the rollback error per metric. Gates of one metric split theirs, and so do all gates on quality."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a version's answers mean, as far as gates ask.

    Attributes:
        task: "classification", "regression" or "other"; empty: not known here, so that nothing is checked against it.
        classes: of a classification; empty: none are declared; None: not known here.
        positive: the positive class; empty: none.
        stable_classes: how many classes the version has that this one is compared with; 0: as many, or not known here.
    """

    task: str = ""
    classes: tuple[str, ...] | None = None
    positive: str = ""
    stable_classes: int = 0

    @property
    def most_classes(self) -> int:
        """The greater number of classes of the two versions."""
        return max(len(self.classes or ()), self.stable_classes)


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong with a policy or a plan.

    Attributes:
        field: path of the field, as `policy.gates[1].harm.offset`.
        description: what is wrong, and what is allowed.
    """

    field: str
    description: str
