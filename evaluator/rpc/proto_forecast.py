"""A forecast as crossfade.evaluator.v1.ForecastResponse."""

import math

from crossfade.common.v1 import policy_pb2
from crossfade.evaluator.v1 import evaluator_pb2
from evaluator.questions.forecast import Amount, GateForecast, StepForecast, longer
from evaluator.questions.questions import Forecasted
from services.common import times
from services.common.policy.messages import METRIC_VALUES, plan_message
from services.common.policy.records import Plan

_LONGEST = 100 * 365 * 86_400.0


def to_proto(found: Forecasted) -> evaluator_pb2.ForecastResponse:
    """A forecast as a message, without its violations."""
    response = evaluator_pb2.ForecastResponse(stable=found.stable, steps=[_step(one) for one in found.steps])
    if found.traffic is not None:
        response.attempts_per_second = found.traffic.attempts_per_second
        response.labels_per_second = found.traffic.labels_per_second
        response.watched.CopyFrom(times.duration(found.traffic.seconds))
    return response


def _step(one: StepForecast) -> evaluator_pb2.StepForecast:
    period = math.inf if one.concludes else longer(one)
    return evaluator_pb2.StepForecast(
        step=_plan_step(one),
        gates=[_gate(gate) for gate in one.gates],
        concludes=one.concludes,
        longer_period=None if period > _LONGEST else times.duration(period),
        left_out=one.left_out,
        larger_share_bps=one.larger,
        warnings=one.warnings,
    )


def _plan_step(one: StepForecast) -> policy_pb2.Step:
    return plan_message(Plan((one.step,))).steps[0]


def _gate(one: GateForecast) -> evaluator_pb2.GateForecast:
    return evaluator_pb2.GateForecast(
        gate=one.gate,
        metric=METRIC_VALUES[one.metric],
        positive_class=one.positive,
        required=one.required,
        stable=one.stable,
        safe=_amount(one.safe),
        by=one.drop,
        harm=_amount(one.harm),
        enough=_amount(one.enough),
        primary=one.primary,
    )


def _amount(one: Amount | None) -> evaluator_pb2.Amount | None:
    if one is None:
        return None
    return evaluator_pb2.Amount(n=one.n, time=None if one.seconds > _LONGEST else times.duration(one.seconds))
