"""What a look says of every gate and of the inputs: what is recorded and what people read."""

import math
from dataclasses import dataclass, field
from enum import StrEnum

from evaluator import words
from evaluator.balance import BalanceGate
from evaluator.each_class import EachClassGate
from evaluator.fold import State, alike
from evaluator.gates import RuntimeGate
from evaluator.inputs import ArmInputs
from evaluator.opening import GateState
from evaluator.statistics import rates, runtime
from evaluator.statistics.confusion import f1_from_unlike
from evaluator.statistics.process import log_threshold
from services.common.policy.records import LABEL_METRICS, MetricKind, Need


class Verdict(StrEnum):
    """What a gate or a look concludes."""

    NONE = ""
    PASS = "pass"  # noqa: S105 - a verdict, no password
    FAIL = "fail"
    CONTINUE = "continue"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """n attempts, labels or batches of one arm, the x among them that count, and the arm's value in its unit."""

    n: int = 0
    x: int = 0
    estimate: float = 0.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """Log evidence, and the bar that decides."""

    log_e: float = 0.0
    bar: float = 0.0

    @property
    def enough(self) -> bool:
        """Whether it has reached the bar."""
        return self.log_e >= self.bar > 0


@dataclass(frozen=True, slots=True)
class GateReport:
    """One gate at one look; fields as in crossfade.common.v1.GateReport, times in seconds."""

    gate: str
    metric: MetricKind
    verdict: Verdict
    required: bool
    test: ArmFigures
    baseline: ArmFigures
    difference: float
    low: float
    high: float
    harm: Evidence
    safe: Evidence
    waits_for: str = ""
    needed: int = 0
    needed_seconds: float = 0.0
    positive: str = ""


@dataclass(frozen=True, slots=True)
class DriftReport:
    """The inputs at one look; fields as in crossfade.common.v1.DriftReport."""

    test_drifted: bool = False
    stable_drifted: bool = False
    test_rows: int = 0
    stable_rows: int = 0
    test: Evidence = field(default_factory=Evidence)
    stable: Evidence = field(default_factory=Evidence)
    features: tuple[tuple[str, float], ...] = ()


_FEATURES_SHOWN = 5


def report_gates(state: State, *, control_missing: bool) -> tuple[GateReport, ...]:
    """Every gate.

    Args:
        state: the evidence.
        control_missing: no Worker can run the control process, so that runtimes are watched only.
    """
    return tuple(_report(state, gate, control_missing=control_missing) for gate in state.gates)


def report_inputs(state: State) -> DriftReport:
    """The inputs of both arms; an arm without a reference profile has no evidence."""
    test, stable = state.inputs.test, state.inputs.stable
    shifts: dict[str, float] = {}
    for arm in (test, stable):
        for feature, shift in arm.shifts() if arm is not None and state.watches_inputs else ():
            shifts[feature] = max(shift, shifts.get(feature, 0.0))
    largest = sorted(shifts.items(), key=lambda item: (-item[1], item[0]))[:_FEATURES_SHOWN]
    return DriftReport(
        test_drifted=test is not None and test.test.drifted,
        stable_drifted=stable is not None and stable.test.drifted,
        test_rows=test.rows if test is not None else 0,
        stable_rows=stable.rows if stable is not None else 0,
        test=_drift_evidence(test),
        stable=_drift_evidence(stable),
        features=tuple(largest),
    )


def gets_labels(state: State) -> bool:
    """Whether the lane gets labels: some were counted for its stable version in the recorded windows."""
    return state.ledger.labels()[1] > 0


def _drift_evidence(arm: ArmInputs | None) -> Evidence:
    if arm is None:
        return Evidence()
    return Evidence(arm.test.log_e, log_threshold(arm.test.reference.alpha))


def _report(state: State, gate: GateState, *, control_missing: bool) -> GateReport:
    policy = state.terms.policy
    harm = Evidence(gate.harm.max_log_e, log_threshold(policy.gate_alpha(gate.gate)))
    safe = Evidence(gate.safe.log_e, log_threshold(policy.alpha_promote))
    if state.terms.sticky:
        verdict = Verdict.NONE
    elif harm.enough:
        verdict = Verdict.FAIL
    else:
        verdict = Verdict.PASS if safe.enough else Verdict.CONTINUE
    needed, seconds = _forecast(state, gate) if verdict is Verdict.CONTINUE else (0, 0.0)
    test, baseline, difference, low, high = _figures(gate)
    return GateReport(
        gate=gate.gate.name,
        metric=gate.gate.metric,
        verdict=verdict,
        required=_required(state, gate, control_missing=control_missing),
        test=test,
        baseline=baseline,
        difference=difference,
        low=low,
        high=high,
        harm=harm,
        safe=safe,
        waits_for=_waits_for(state, gate, needed, seconds) if verdict is Verdict.CONTINUE else "",
        needed=needed,
        needed_seconds=seconds,
        positive=_positive(gate),
    )


def _positive(gate: GateState) -> str:
    """The class that the figures are of."""
    if isinstance(gate, BalanceGate):
        return gate.most_moved().name if gate.test_n else ""
    return gate.shown.gate.positive if isinstance(gate, EachClassGate) else gate.gate.positive


def _required(state: State, gate: GateState, *, control_missing: bool) -> bool:
    if isinstance(gate, RuntimeGate) and control_missing:
        return False
    match gate.gate.need:
        case Need.ALWAYS:
            return True
        case Need.WITH_LABELS:
            return gets_labels(state)
        case Need.NEVER:
            return False


def _figures(gate: GateState) -> tuple[ArmFigures, ArmFigures, float, float, float]:
    if isinstance(gate, EachClassGate):
        return _figures(gate.shown)
    if isinstance(gate, RuntimeGate):
        test_seconds, control_seconds = gate.medians()
        ratio = gate.seen.interval()
        return (
            ArmFigures(gate.test_n, 0, _zero(test_seconds)),
            ArmFigures(gate.control_n, 0, _zero(control_seconds)),
            _zero(ratio.estimate - 1.0),
            ratio.low - 1.0,
            ratio.high - 1.0,
        )
    seen = gate.most_moved().seen if isinstance(gate, BalanceGate) else gate.seen
    found, shown = seen.interval(), _as_it_is
    if gate.gate.metric is MetricKind.F1:
        shown = _as_f1
    test_rate, stable_rate = shown(seen.test_rate), shown(seen.stable_rate)
    difference, low, high = (
        shown(min(max(seen.stable_rate + one, 0.0), 1.0)) - stable_rate
        for one in (found.estimate, found.low, found.high)
    )
    if shown is _as_it_is:
        difference, low, high = found.estimate, found.low, found.high
    return (
        ArmFigures(int(seen.n_test), int(seen.x_test), _zero(test_rate)),
        ArmFigures(int(seen.n_stable), int(seen.x_stable), _zero(stable_rate)),
        _zero(difference),
        low,
        high,
    )


def _as_it_is(rate: float) -> float:
    return rate


def _as_f1(rate: float) -> float:
    """1 - F1 of a rate 1 - J, which is what is judged."""
    return rate if math.isnan(rate) else 1.0 - f1_from_unlike(rate)


def _forecast(state: State, gate: GateState) -> tuple[int, float]:
    """Attempts, labels or batches of the test arm until PASS, and seconds at the pace of this step; 0: unknown."""
    step = state.terms.plan.steps[max(state.step, 0)]
    more = gate.remaining(state.terms.policy.alpha_promote, step.share_bps / 10_000)
    if more is None:
        return 0, 0.0
    pace = gate.step_n / state.step_seconds if state.step_seconds > 0 else 0.0
    return more, more / pace if pace > 0 else 0.0


def _waits_for(state: State, gate: GateState, needed: int, seconds: float) -> str:
    terms = state.terms
    noun = _NOUNS[gate.gate.metric]
    if gate.gate.metric in LABEL_METRICS and (waits := _waits_for_labels(state)):
        return waits
    if gate.test_n == 0:
        return f"{words.plural(noun)} of {terms.test}: none yet"
    if isinstance(gate, RuntimeGate) and gate.control_n == 0:
        return f"{words.plural(noun)} of {terms.stable}'s control process: none yet"
    if isinstance(gate, EachClassGate):
        return f"{_waits_for(state, gate.shown, needed, seconds)} (class {gate.shown.gate.positive})"
    if isinstance(gate, RuntimeGate):
        known, enough = float(gate.safe.past.counts.sum()), runtime.ENOUGH_PAST
    else:
        known, enough = float(gate.safe.n_past.min()), rates.ENOUGH_PAST
    if known < enough:
        return f"{words.many(round(enough - known), noun)} of {terms.stable}, to know what is usual"
    if not needed:
        return f"more {words.plural(noun)} of {terms.test}"
    forecast = f"about {words.some(needed)} more {noun if needed == 1 else words.plural(noun)} of {terms.test}"
    return f"{forecast}: {words.duration(seconds)} at this traffic" if seconds else forecast


def _waits_for_labels(state: State) -> str:
    terms, maturity = state.terms, state.terms.policy.labels
    test_labels, stable_labels = state.ledger.labels()
    if state.resting:
        return "the end of the drift of the inputs"
    for labels, version in ((stable_labels, terms.stable), (test_labels, terms.test)):
        if not labels:
            return f"labels of {version}: none yet"
    if state.coverage is None:
        return f"labels to be {words.duration(state.label_age)} old"
    shares = tuple(zip(state.coverage, (terms.test, terms.stable), strict=True))
    for share, version in shares:
        if math.isnan(share) or share < maturity.min_coverage:
            return (
                f"labels: {words.percent(share)} of {version}'s answers have one, "
                f"{words.percent(maturity.min_coverage)} are needed"
            )
    if not alike(state.coverage, maturity.max_coverage_gap):
        return (
            f"labels that reach both versions alike: {words.percent(state.coverage[0])} of {terms.test}'s answers have "
            f"one and {words.percent(state.coverage[1])} of {terms.stable}'s; "
            f"they may differ by {words.points(maturity.max_coverage_gap)}"
        )
    return ""


_NOUNS = {
    MetricKind.ERRORS: "attempt",
    MetricKind.RUNTIME: "batch",
    MetricKind.ACCURACY: "mature label",
    MetricKind.PRECISION: "mature positive answer",
    MetricKind.RECALL: "mature positive row",
    MetricKind.FALSE_POSITIVE_RATE: "mature negative row",
    MetricKind.F1: "mature positive row",
    MetricKind.CLASS_BALANCE: "prediction",
}


def _zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value
