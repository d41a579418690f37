"""Policies and plans: messages to what was asked for, and what is judged by to messages."""

from typing import Final

from google.protobuf.duration_pb2 import Duration

from crossfade.common.v1 import policy_pb2
from services.common import times
from services.common.policy.drafts import GateDraft, PlanDraft, PolicyDraft, StepDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Gate, GateMargin, Limit, Need, Objective, PeriodEnd, Plan, Policy

_METRICS: Final = {
    policy_pb2.METRIC_ERRORS: MetricKind.ERRORS,
    policy_pb2.METRIC_RUNTIME: MetricKind.RUNTIME,
    policy_pb2.METRIC_ACCURACY: MetricKind.ACCURACY,
    policy_pb2.METRIC_INPUT_DRIFT: MetricKind.INPUT_DRIFT,
    policy_pb2.METRIC_PRECISION: MetricKind.PRECISION,
    policy_pb2.METRIC_RECALL: MetricKind.RECALL,
    policy_pb2.METRIC_FALSE_POSITIVE_RATE: MetricKind.FALSE_POSITIVE_RATE,
    policy_pb2.METRIC_F1: MetricKind.F1,
    policy_pb2.METRIC_CLASS_BALANCE: MetricKind.CLASS_BALANCE,
    policy_pb2.METRIC_DISAGREEMENT: MetricKind.DISAGREEMENT,
    policy_pb2.METRIC_PAIRED_ACCURACY: MetricKind.PAIRED_ACCURACY,
    policy_pb2.METRIC_ABSOLUTE_ERROR: MetricKind.ABSOLUTE_ERROR,
    policy_pb2.METRIC_VALUE: MetricKind.VALUE,
    policy_pb2.METRIC_CUSTOM: MetricKind.CUSTOM,
}
METRIC_VALUES: Final = {kind: value for value, kind in _METRICS.items()}
"""Metrics as the contract numbers them."""
_PERIOD_ENDS: Final = {
    policy_pb2.PERIOD_END_INCONCLUSIVE: PeriodEnd.INCONCLUSIVE,
    policy_pb2.PERIOD_END_HOLD: PeriodEnd.HOLD,
    policy_pb2.PERIOD_END_ROLLBACK: PeriodEnd.ROLLBACK,
}
_PERIOD_END_VALUES: Final = {end: value for value, end in _PERIOD_ENDS.items()}


_OBJECTIVES: Final = {
    policy_pb2.OBJECTIVE_UNSPECIFIED: Objective.NON_INFERIOR,
    policy_pb2.OBJECTIVE_NON_INFERIOR: Objective.NON_INFERIOR,
    policy_pb2.OBJECTIVE_SUPERIOR: Objective.SUPERIOR,
}


def objective(value: policy_pb2.Objective.ValueType) -> Objective | None:
    """What a version must show; None: this release knows no such objective."""
    return _OBJECTIVES.get(value)


def policy_draft(message: policy_pb2.Policy) -> PolicyDraft:
    """A policy as it was asked for."""
    return PolicyDraft(
        gates=tuple(_gate_draft(gate) for gate in message.gates),
        look_interval=_given(message.look_interval, present=message.HasField("look_interval")),
        settling=_given(message.settling, present=message.HasField("settling")),
        alpha_rollback=message.alpha_rollback,
        alpha_promote=message.alpha_promote,
        period_end=_PERIOD_ENDS.get(message.period_end),
        power=message.power,
        min_coverage=message.labels.min_coverage,
        min_age=_given(message.labels.min_age, present=message.labels.HasField("min_age")),
        max_coverage_gap=message.labels.max_coverage_gap,
        judge_young=message.labels.judge_young,
        drift_margin=message.drift_margin,
        stale_after=_given(message.stale_after, present=message.HasField("stale_after")),
        fresh_instances=message.fresh_instances,
    )


def plan_draft(message: policy_pb2.TrafficPlan) -> PlanDraft:
    """A plan as it was asked for."""
    return PlanDraft(
        tuple(
            StepDraft(
                share_bps=step.share_bps,
                min_duration=_given(step.min_duration, present=step.HasField("min_duration")),
                period=_given(step.period, present=step.HasField("period")),
                shadow=step.mode == policy_pb2.MODE_SHADOW,
            )
            for step in message.steps
        )
    )


def unknown_fields(policy: policy_pb2.Policy, plan: policy_pb2.TrafficPlan) -> tuple[str, ...]:
    """What a release after this one has said there, as the fields' paths: read as a default it is another plan."""
    gates = [f"policy.gates[{n}].metric" for n, gate in enumerate(policy.gates) if gate.metric not in _METRICS]
    modes = policy_pb2.Mode.values()
    steps = [f"plan.steps[{n}].mode" for n, step in enumerate(plan.steps) if step.mode not in modes]
    ends = [] if policy.period_end in policy_pb2.PeriodEnd.values() else ["policy.period_end"]
    return (*gates, *ends, *steps)


def policy_message(policy: Policy) -> policy_pb2.Policy:
    """A policy with every default filled in; a gate required once the lane gets labels is said to be required."""
    return policy_pb2.Policy(
        gates=[_gate_message(gate) for gate in policy.gates],
        look_interval=times.duration(policy.look_interval),
        settling=times.duration(policy.settling),
        alpha_rollback=policy.alpha_rollback,
        alpha_promote=policy.alpha_promote,
        period_end=_PERIOD_END_VALUES[policy.period_end],
        power=policy.power,
        labels=policy_pb2.LabelMaturity(
            min_coverage=policy.labels.min_coverage,
            min_age=None if policy.labels.follows_lag else times.duration(policy.labels.min_age),
            max_coverage_gap=policy.labels.max_coverage_gap,
            judge_young=policy.labels.judge_young,
        ),
        drift_margin=policy.drift_margin,
        stale_after=times.duration(policy.stale_after),
        fresh_instances=policy.fresh_instances,
    )


def plan_message(plan: Plan) -> policy_pb2.TrafficPlan:
    """A plan with every default filled in."""
    return policy_pb2.TrafficPlan(
        steps=[
            policy_pb2.Step(
                mode=policy_pb2.MODE_SHADOW if step.shadow else policy_pb2.MODE_LIVE,
                share_bps=step.share_bps,
                min_duration=times.duration(step.min_duration),
                period=times.duration(step.period),
            )
            for step in plan.steps
        ]
    )


def _gate_draft(message: policy_pb2.Gate) -> GateDraft:
    return GateDraft(
        metric=_METRICS.get(message.metric),
        name=message.name,
        required=message.required,
        harm=_margin(message.harm) if message.HasField("harm") else None,
        safe=_margin(message.safe) if message.HasField("safe") else None,
        weight=message.weight,
        positive=message.positive_class,
        limit=_limit(message.limit) if message.HasField("limit") else None,
        primary=message.primary,
        better=_margin(message.better) if message.HasField("better") else None,
        above=message.above,
        bad_query=message.bad_query,
        total_query=message.total_query,
        segment=message.segment,
    )


def _limit(message: policy_pb2.Limit) -> Limit:
    return Limit(
        at_least=message.at_least if message.HasField("at_least") else None,
        at_most=message.at_most if message.HasField("at_most") else None,
        seconds=_given(message.duration, present=message.HasField("duration")),
        quantile=message.quantile,
    )


def _margin(message: policy_pb2.Margin) -> GateMargin:
    return GateMargin(factor=message.factor or 1.0, offset=message.offset, buckets=message.buckets)


def _gate_message(gate: Gate) -> policy_pb2.Gate:
    limited = gate.limit is not None
    return policy_pb2.Gate(
        name=gate.name,
        metric=METRIC_VALUES[gate.metric],
        required=gate.need is not Need.NEVER,
        harm=None if limited else _margin_message(gate.harm),
        safe=None if limited else _margin_message(gate.safe),
        weight=gate.share,
        positive_class=gate.positive,
        limit=None if gate.limit is None else limit_message(gate.limit),
        primary=gate.better is not None,
        better=None if gate.better is None else _margin_message(gate.better),
        above=gate.above,
        bad_query=gate.bad_query,
        total_query=gate.total_query,
        segment=gate.segment,
    )


def limit_message(limit: Limit) -> policy_pb2.Limit:
    """A number that a metric must keep to."""
    if limit.at_least is not None:
        return policy_pb2.Limit(at_least=limit.at_least)
    if limit.at_most is not None:
        return policy_pb2.Limit(at_most=limit.at_most)
    duration = None if limit.seconds is None else times.duration(limit.seconds)
    return policy_pb2.Limit(duration=duration, quantile=limit.quantile)


def _margin_message(margin: GateMargin) -> policy_pb2.Margin:
    return policy_pb2.Margin(factor=margin.factor, offset=margin.offset, buckets=margin.buckets)


def _given(message: Duration, *, present: bool) -> float | None:
    return times.seconds(message) if present else None
