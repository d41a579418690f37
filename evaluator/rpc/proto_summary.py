"""A decision as crossfade.common.v1.Summary: what the Registry keeps and people read."""

import math
from typing import Final

from crossfade.common.v1 import analysis_pb2
from evaluator.rpc import proto_circumstances
from evaluator.verdict.decision import Action, Decision
from evaluator.verdict.figures import ArmFigures
from evaluator.verdict.reports import DriftReport, Evidence, GateReport, Verdict
from services.common import times
from services.common.policy.messages import METRIC_VALUES, limit_message

_VERDICTS: Final = {
    Verdict.NONE: analysis_pb2.VERDICT_UNSPECIFIED,
    Verdict.PASS: analysis_pb2.VERDICT_PASS,
    Verdict.FAIL: analysis_pb2.VERDICT_FAIL,
    Verdict.CONTINUE: analysis_pb2.VERDICT_CONTINUE,
    Verdict.INCONCLUSIVE: analysis_pb2.VERDICT_INCONCLUSIVE,
}
ACTIONS: Final = {
    Action.NONE: analysis_pb2.ACTION_UNSPECIFIED,
    Action.PROMOTE: analysis_pb2.ACTION_PROMOTE,
    Action.ADVANCE: analysis_pb2.ACTION_ADVANCE,
    Action.PAUSE: analysis_pb2.ACTION_PAUSE,
    Action.RESUME: analysis_pb2.ACTION_RESUME,
    Action.ROLLBACK: analysis_pb2.ACTION_ROLLBACK,
    Action.CANCEL: analysis_pb2.ACTION_CANCEL,
}
"""Actions as the contract numbers them."""
KNOWN_ACTIONS: Final = {value: action for action, value in ACTIONS.items()}
_LONGEST_FORECAST: Final = 10 * 365 * 86_400.0


def to_proto(decision: Decision) -> analysis_pb2.Summary:
    """A decision as a message."""
    return analysis_pb2.Summary(
        verdict=_VERDICTS[decision.verdict],
        action=ACTIONS[decision.action],
        reason=decision.reason,
        gate=decision.gate,
        gates=[_gate(report) for report in decision.gates],
        drift=_drift(decision.drift),
        holds=decision.holds,
        shadow=_shadow(decision.pairs),
        circumstances=None if decision.at is None else proto_circumstances.to_proto(decision.at),
    )


def _gate(report: GateReport) -> analysis_pb2.GateReport:
    return analysis_pb2.GateReport(
        gate=report.gate,
        verdict=_VERDICTS[report.verdict],
        required=report.required,
        test=_arm(report.test),
        baseline=_arm(report.baseline),
        difference=report.difference,
        low=report.low,
        high=report.high,
        harm=_evidence(report.harm),
        safe=_evidence(report.safe),
        waits_for=report.waits_for,
        needed=report.needed,
        needed_time=times.duration(min(report.needed_seconds, _LONGEST_FORECAST)),
        metric=METRIC_VALUES[report.metric],
        positive_class=report.positive,
        limit=None if report.limit is None else limit_message(report.limit),
        primary=report.primary,
        averages=_averages(report),
        segment=report.segment,
        tail=_tail(report),
    )


def _tail(report: GateReport) -> analysis_pb2.Tail | None:
    if report.tail is None:
        return None
    tail = report.tail
    return analysis_pb2.Tail(test=_arm(tail.test), baseline=_arm(tail.baseline), safe=_evidence(tail.safe))


def _averages(report: GateReport) -> analysis_pb2.Averages | None:
    if report.averages is None or any(math.isnan(one) for one in report.averages):
        return None
    test, baseline = report.averages
    return analysis_pb2.Averages(test=test, baseline=baseline)


def _shadow(pairs: tuple[int, int, int]) -> analysis_pb2.ShadowReport | None:
    rows, different, labelled = pairs
    return analysis_pb2.ShadowReport(rows=rows, different=different, labelled=labelled) if rows else None


def _drift(drift: DriftReport) -> analysis_pb2.DriftReport:
    return analysis_pb2.DriftReport(
        test_drifted=drift.test_drifted,
        stable_drifted=drift.stable_drifted,
        test_rows=drift.test_rows,
        stable_rows=drift.stable_rows,
        test=_evidence(drift.test),
        stable=_evidence(drift.stable),
        features=[
            analysis_pb2.FeatureDrift(feature=one.name, shift=one.shift, psi=one.psi, jensen_shannon=one.divergence)
            for one in drift.features
        ],
    )


def _arm(figures: ArmFigures) -> analysis_pb2.ArmCounts:
    return analysis_pb2.ArmCounts(n=figures.n, x=figures.x, estimate=figures.estimate)


def _evidence(evidence: Evidence) -> analysis_pb2.Evidence:
    return analysis_pb2.Evidence(log_e=evidence.log_e, bar=evidence.bar)
