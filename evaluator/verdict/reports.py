"""What a look says of every gate and of the inputs: what is recorded and what people read."""

from dataclasses import dataclass, field
from enum import StrEnum

from evaluator.evidence.inputs import ArmInputs, FeatureShift, most_moved
from evaluator.evidence.state import State
from evaluator.gates.balance import BalanceGate
from evaluator.gates.cohorts import CohortGate
from evaluator.gates.distributions import DistributionGate
from evaluator.gates.each_class import EachClassGate
from evaluator.gates.maturity import may_hide
from evaluator.gates.opening import GateState
from evaluator.statistics.process import log_threshold
from evaluator.verdict.figures import ArmFigures, figures_of, tail_of
from evaluator.verdict.unshown import shows_harm, unshown
from evaluator.verdict.waits import waits_for
from services.common.policy.metrics import MetricKind, shown_in
from services.common.policy.records import Limit, Need


class Verdict(StrEnum):
    """What a gate or a look concludes."""

    NONE = ""
    PASS = "pass"  # noqa: S105 - a verdict, no password
    FAIL = "fail"
    CONTINUE = "continue"
    INCONCLUSIVE = "inconclusive"


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
class TailReport:
    """The slowest batches of both arms; as in crossfade.common.v1.Tail."""

    test: ArmFigures
    baseline: ArmFigures
    safe: Evidence


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
    limit: Limit | None = None
    primary: bool = False
    averages: tuple[float, float] | None = None
    segment: str = ""
    tail: TailReport | None = None


@dataclass(frozen=True, slots=True)
class DriftReport:
    """The inputs at one look; fields as in crossfade.common.v1.DriftReport."""

    test_drifted: bool = False
    stable_drifted: bool = False
    test_rows: int = 0
    stable_rows: int = 0
    test: Evidence = field(default_factory=Evidence)
    stable: Evidence = field(default_factory=Evidence)
    features: tuple[FeatureShift, ...] = ()


_FEATURES_SHOWN = 5


def report_gates(
    state: State, *, control_missing: bool, by_class: bool = True, by_arm: bool = True, by_pair: bool = True
) -> tuple[GateReport, ...]:
    """Every gate.

    Args:
        state: the evidence.
        control_missing: no Worker can run the control process, so that runtimes are watched only.
        by_class: gates on one class must have seen rows of it.
        by_arm: labels must reach both arms alike, beyond chance and materially.
        by_pair: nearly all rows that a SHADOW step mirrors must have a pair.
    """
    return tuple(
        _report(state, gate, control_missing=control_missing, by_class=by_class, by_arm=by_arm, by_pair=by_pair)
        for gate in state.gates
    )


def report_inputs(state: State) -> DriftReport:
    """The inputs of both arms; an arm without a reference profile has no evidence."""
    test, stable = state.inputs.test, state.inputs.stable
    watched = [arm for arm in (test, stable) if arm is not None and state.watches_inputs]
    return DriftReport(
        test_drifted=test is not None and test.test.drifted,
        stable_drifted=stable is not None and stable.test.drifted,
        test_rows=test.rows if test is not None else 0,
        stable_rows=stable.rows if stable is not None else 0,
        test=drift_evidence(test),
        stable=drift_evidence(stable),
        features=tuple(most_moved(watched, _FEATURES_SHOWN)),
    )


def gets_labels(state: State) -> bool:
    """Whether the lane gets labels: some were counted for its stable version in the recorded windows."""
    return state.ledger.labels()[1] > 0


def drift_evidence(arm: ArmInputs | None) -> Evidence:
    """The evidence of a drift, or of its end; of an arm without a reference profile there is none."""
    if arm is None:
        return Evidence()
    return Evidence(arm.test.log_e, log_threshold(arm.test.reference.alpha))


def _report(
    state: State, gate: GateState, *, control_missing: bool, by_class: bool, by_arm: bool, by_pair: bool
) -> GateReport:
    policy = state.terms.policy
    harm = Evidence(gate.harm.max_log_e, log_threshold(policy.gate_alpha(gate.gate)))
    safe = Evidence(gate.safe.log_e, log_threshold(policy.alpha_promote))
    tail = _tail(gate, safe.bar)
    if state.terms.sticky and not isinstance(gate, CohortGate):
        # One key's requests fail together: shown, and no evidence.
        verdict = Verdict.NONE
    elif harm.enough and (shows_harm(gate) or not by_class) and not (by_arm and state.blamed(gate.gate)):
        verdict = Verdict.FAIL
    else:
        # What it has taken before a class stood out, or an arm lacked labels, shows nothing any more.
        shown = safe.enough and state.standing_out(gate.gate) is None
        shown = shown and not (by_arm and state.flattered(gate.gate))
        shown = shown and not (by_class and unshown(state, gate))
        shown = shown and not (by_pair and may_hide(gate.gate, state.unpaired))
        verdict = Verdict.PASS if shown and (tail is None or tail.safe.enough) else Verdict.CONTINUE
    required = _required(state, gate, control_missing=control_missing)
    # Nobody waits for a gate that promotion does not need.
    needed, seconds = _forecast(state, gate) if verdict is Verdict.CONTINUE and required else (0, 0.0)
    figures = figures_of(gate)
    return GateReport(
        gate=gate.gate.name,
        metric=gate.gate.metric,
        verdict=verdict,
        required=required,
        test=figures.test,
        baseline=figures.baseline,
        difference=figures.difference,
        low=figures.low,
        high=figures.high,
        harm=harm,
        safe=safe,
        waits_for=waits_for(state, gate, needed, seconds) if verdict is Verdict.CONTINUE else "",
        needed=needed,
        needed_seconds=seconds,
        positive=_positive(gate),
        limit=gate.gate.limit,
        primary=gate.gate.better is not None,
        averages=gate.averages() if isinstance(gate, EachClassGate) else None,
        segment=gate.gate.segment,
        tail=tail,
    )


def _tail(gate: GateState, bar: float) -> TailReport | None:
    """The slowest batches, where they are asked for."""
    if not isinstance(gate, DistributionGate) or gate.tail is None:
        return None
    return TailReport(*tail_of(gate), Evidence(gate.tail.log_e, bar))


def _positive(gate: GateState) -> str:
    """The class that the figures are of."""
    if isinstance(gate, BalanceGate):
        return gate.most_moved().name if gate.test_n else ""
    return gate.shown.gate.positive if isinstance(gate, EachClassGate) else gate.gate.positive


def _required(state: State, gate: GateState, *, control_missing: bool) -> bool:
    # What a version must be better in is no less wanted where it cannot be shown.
    if _by_control(gate) and control_missing and gate.gate.better is None:
        return False
    if not shown_in(gate.gate.metric, shadow=state.shadowed):
        return False
    match gate.gate.need:
        case Need.ALWAYS:
            return True
        case Need.WITH_LABELS:
            return gets_labels(state)
        case Need.NEVER:
            return False


def _by_control(gate: GateState) -> bool:
    """Whether it compares with the control process, which has as much traffic as the test version."""
    return isinstance(gate, DistributionGate) and gate.gate.metric is MetricKind.RUNTIME


def _forecast(state: State, gate: GateState) -> tuple[int, float]:
    """Attempts, labels or batches of the test arm until PASS, and seconds at the pace of this step; 0: unknown."""
    step = state.terms.plan.steps[max(state.step, 0)]
    if isinstance(gate, CohortGate):
        ahead = gate.ahead(state.terms.policy.alpha_promote)
        return (ahead.n, ahead.periods * step.period) if ahead is not None else (0, 0.0)
    more = gate.remaining(state.terms.policy.alpha_promote, step.share_bps / 10_000)
    if more is None:
        return 0, 0.0
    pace = gate.step_n / state.step_seconds if state.step_seconds > 0 else 0.0
    return more, more / pace if pace > 0 else 0.0
