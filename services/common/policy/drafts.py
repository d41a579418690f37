"""Policies and plans as they were asked for, before defaults are filled in."""

from dataclasses import dataclass

from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin, Limit, PeriodEnd


@dataclass(frozen=True, slots=True)
class GateDraft:
    """A gate as it was asked for; None: the default."""

    metric: MetricKind | None
    name: str = ""
    required: bool = False
    harm: GateMargin | None = None
    safe: GateMargin | None = None
    weight: float = 0.0
    positive: str = ""
    limit: Limit | None = None
    primary: bool = False
    better: GateMargin | None = None
    above: float = 0.0
    bad_query: str = ""
    total_query: str = ""
    segment: str = ""


@dataclass(frozen=True, slots=True)
class PolicyDraft:
    """A policy as it was asked for; None and zero: the default. Fields as in `Policy`."""

    gates: tuple[GateDraft, ...] = ()
    look_interval: float | None = None
    settling: float | None = None
    alpha_rollback: float = 0.0
    alpha_promote: float = 0.0
    period_end: PeriodEnd | None = None
    power: float = 0.0
    min_coverage: float = 0.0
    min_age: float | None = None
    max_coverage_gap: float = 0.0
    judge_young: bool = False
    drift_margin: float = 0.0
    stale_after: float | None = None
    fresh_instances: float = 0.0


@dataclass(frozen=True, slots=True)
class StepDraft:
    """A step as it was asked for; None: the default. Fields as in `Step`."""

    share_bps: int
    min_duration: float | None = None
    period: float | None = None
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class PlanDraft:
    """A plan as it was asked for; no steps: the default."""

    steps: tuple[StepDraft, ...] = ()
