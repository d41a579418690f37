"""What follows from the evidence: a pure function from a rollout's state and its circumstances to one action.

The rules, the first that applies: a version that cannot be served fails; harm rolls back at any time; a drift of the
inputs in both arms pauses, and its end resumes; every required gate's PASS goes to the next step or promotes; the end
of a step's period, of which only the time counts in which somebody looked, goes on if nothing was violated and a harm
would have shown. No data is never success.
"""

from collections.abc import Container, Sequence
from dataclasses import replace

from evaluator.evidence.state import State
from evaluator.gates.distributions import DistributionGate
from evaluator.gates.opening import agreeing_looks
from evaluator.statistics.process import log_threshold
from evaluator.verdict import sentences, unlike_inputs
from evaluator.verdict.decision import Action, Circumstances, Decision, Phase
from evaluator.verdict.period_end import (
    BEYOND,
    end_of_period,
    gates_near_margin,
    needs_of,
    renewed,
    unsafe_gates,
)
from evaluator.verdict.readiness import PATIENCE, control_missing, find_failure, is_ready, obstacle
from evaluator.verdict.reports import DriftReport, GateReport, Verdict, report_gates, report_inputs
from evaluator.verdict.suspicion import suspected, worse_lately
from evaluator.verdict.unshown import unshown
from evaluator.verdict.waits import unlike_labels, unlike_processes, without_pairs
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Step

_TAILS, _BY_CLASS, _WATCHED, _RENEWED, _BY_ARM, _TESTED, _UNSEEN = 1, 2, 3, 4, 5, 6, 7
"""The first rules by which the slowest batches, and labels of a gate's class, were asked for, by which a clock that was
set made no wait any longer, by which the last step asks for what shows a harm in it, and for none in sum, and by which
labels have to reach both arms alike, by which the last period's end tests the sums once, and by which nearly all rows
that a SHADOW step mirrors have to have a pair and no promotion comes while the latest looks speak against it."""


def decide(state: State, at: Circumstances) -> Decision:
    """The conclusion of a look whose window `state` has taken in."""
    if at.rules < _TAILS:
        state = _without_tails(state)
    found = _unservable(state, at)
    alone = control_missing(at.workers, state.terms.stable)
    gates = report_gates(
        state,
        control_missing=alone,
        by_class=at.rules >= _BY_CLASS,
        by_arm=_asks_of_arms(state, at),
        by_pair=at.rules >= _UNSEEN,
    )
    drift = report_inputs(state)
    if found is None and at.phase is Phase.WAITING:
        found = _waiting(state, at)
    if found is None and state.split.broken:
        found = Decision(Action.CANCEL, Verdict.INCONCLUSIVE, sentences.broken_split(state), "SPLIT_BROKEN")
    if found is None and state.same_inputs is not None and state.same_inputs.broken:
        reason = unlike_inputs.broken(state.terms, state.same_inputs)
        found = Decision(Action.CANCEL, Verdict.INCONCLUSIVE, reason, "SPLIT_BROKEN")
    if found is None:
        found = _judged(state, at, gates, drift)
    return replace(
        found,
        gates=gates,
        drift=drift,
        at=at,
        pairs=(state.copies.rows, state.copies.different, state.paired.labels()[0]),
    )


def _asks_of_arms(state: State, at: Circumstances) -> bool:
    """Whether labels have to reach both arms alike, beyond chance."""
    return at.rules >= (_UNSEEN if state.terms.sticky else _BY_ARM)


def _without_tails(state: State) -> State:
    """The evidence as looks saw it before the slowest batches were asked for: what they concluded stays as it was."""
    gates = (replace(gate, tail=None) if isinstance(gate, DistributionGate) else gate for gate in state.gates)
    return replace(state, gates=tuple(gates))


def find_violation(state: State, gates: Sequence[GateReport]) -> Decision | None:
    """The rollback by the gate whose evidence of harm is furthest beyond its bar; None: no gate has enough."""
    harmful = [report for report in gates if report.verdict is Verdict.FAIL]
    if not harmful:
        return None
    worst = max(harmful, key=lambda report: report.harm.log_e / report.harm.bar)
    return Decision(Action.ROLLBACK, Verdict.FAIL, sentences.harm(state, worst), "VIOLATION", worst.gate)


def _unservable(state: State, at: Circumstances) -> Decision | None:
    waited = _waited(state, at)
    failure = find_failure(at.workers, state.terms.test, state.terms.stable, waited)
    if failure is not None:
        return Decision(Action.ROLLBACK, Verdict.FAIL, failure.reason, failure.code)
    return None


def _waited(state: State, at: Circumstances) -> float:
    """Seconds since the rollout's first look."""
    if at.rules >= _WATCHED:
        return state.waited
    return at.now - state.first_time if state.first_time else 0.0


def _waiting(state: State, at: Circumstances) -> Decision:
    test = state.terms.test
    waited = _waited(state, at)
    known = obstacle(at.workers, test)
    why = f": {known}" if known else ""
    if waited >= PATIENCE and not is_ready(at.workers, test):
        reason = f"{test} was ready on no Worker within {PATIENCE / 60:.0f} min{why}"
        return Decision(Action.CANCEL, Verdict.INCONCLUSIVE, reason, "NOT_READY")
    if is_ready(at.workers, test):
        stable = state.terms.stable
        beside = f"{test} is ready; waits until {stable} carries all of the traffic and has a control process beside it"
        return Decision(Action.NONE, Verdict.CONTINUE, beside)
    return Decision(Action.NONE, Verdict.CONTINUE, f"waits until a Worker has {test} loaded, verified and warm{why}")


def _judged(state: State, at: Circumstances, gates: Sequence[GateReport], drift: DriftReport) -> Decision:
    violation = find_violation(state, gates)
    if violation is not None:
        return violation
    if state.resting and at.phase is Phase.RUNNING:
        return Decision(Action.PAUSE, Verdict.CONTINUE, sentences.drifted(state, drift))
    if at.phase is Phase.PAUSED_BY_DRIFT:
        if state.resting:
            return Decision(Action.NONE, Verdict.CONTINUE, sentences.drifted(state, drift))
        return Decision(Action.RESUME, Verdict.CONTINUE, "the drift of the inputs has ended")
    if at.phase.paused:
        return Decision(Action.NONE, Verdict.CONTINUE, "paused by a person; harm is still judged")
    return _forward(state, at, gates)


def _forward(state: State, at: Circumstances, gates: Sequence[GateReport]) -> Decision:
    """Goes on, promotes, or says what it waits for."""
    required = [report for report in gates if report.required]
    open_gates = [report for report in required if report.verdict is not Verdict.PASS]
    step = _step(state)
    # What nobody looked at says nothing for or against the version, and shows no harm either.
    watched = at.elapsed - state.unlooked
    missing = _missing(state, at, required)
    if missing:
        if watched >= step.period:
            return end_of_period(state, f"the period ended, and {missing}")
        return Decision(Action.NONE, Verdict.CONTINUE, f"waits: {missing}")
    if at.holds:
        # One failed scrape at the period's end is no reason to end the rollout; a version nobody can see is one.
        if watched >= step.period + state.terms.policy.stale_after and open_gates:
            return end_of_period(state, f"the period ended, and {at.holds[0]}")
        return Decision(Action.NONE, Verdict.CONTINUE, f"waits: {'; '.join(at.holds)}")
    if required and not open_gates:
        return _passed(state, at, gates, required)
    if watched >= step.period:
        if state.terms.superior:
            # No violation is no victory: what an A/B test is held for must be shown.
            return end_of_period(state, _without_winner(state, at, gates), "NO_WINNER")
        return _period_over(state, at, gates, required)
    return Decision(Action.NONE, Verdict.CONTINUE, sentences.waits(open_gates))


def _passed(state: State, at: Circumstances, gates: Sequence[GateReport], required: Sequence[GateReport]) -> Decision:
    """Every required gate is safe by its evidence: goes on, unless something speaks against it."""
    step, watched = _step(state), at.elapsed - state.unlooked
    unsafe = unsafe_gates(state, required) if at.rules >= _RENEWED else []
    doubt = sentences.not_in_sum(state, unsafe) if unsafe else _doubt(state, gates)
    if doubt and watched < step.period:
        return Decision(Action.NONE, Verdict.CONTINUE, doubt)
    if unsafe and _is_last(state):
        return end_of_period(state, sentences.unsafe(state, unsafe), "NOT_SAFE")
    if watched >= step.min_duration:
        code = "SUPERIOR" if state.terms.superior else "SAFE"
        return _go_on(state, at, gates, sentences.safe(state, required), code)
    return Decision(Action.NONE, Verdict.PASS, sentences.shortest_time(state, step.min_duration - watched))


def _missing(state: State, at: Circumstances, required: Sequence[GateReport]) -> str:
    """What nothing can be concluded without, as a sentence part; empty: it is there."""
    if state.shadowed and state.copies.too_few:
        return sentences.too_few_copies(state)
    names = {report.gate for report in required}
    for gate in state.gates:
        if isinstance(gate, DistributionGate) and gate.unmeasured and gate.gate.name in names:
            return sentences.unmeasured(state, gate.bounds)
    # While predictions of some process are not known, it is not known either how many answers lack a label.
    by_arm = _asks_of_arms(state, at) and not at.holds and not state.terms.superior
    if unlike := unlike_labels(state, names, by_arm=by_arm):
        return unlike
    # The steps before are over when their periods are, where nothing was violated.
    if _is_last(state) and (lacks := _lacks_in_last(state, at, names)):
        return lacks
    if state.others.apart and any(_by_control(report) and report.verdict is not Verdict.PASS for report in required):
        return f"runtimes cannot be compared: {unlike_processes(state)}"
    return ""


def _lacks_in_last(state: State, at: Circumstances, names: Container[str]) -> str:
    """What the named gates pass nothing without in the last step, likewise."""
    for gate in (gate for gate in state.gates if gate.gate.name in names):
        if at.rules >= _BY_CLASS and (lacks := unshown(state, gate)):
            return f"{gate.gate.name} lacks {lacks}"
        if at.rules >= _UNSEEN and (hidden := without_pairs(state, gate.gate)):
            return hidden
    return ""


def _without_winner(state: State, at: Circumstances, gates: Sequence[GateReport]) -> str:
    """Why an A/B test ends without a winner, as a sentence. Of versions alike, a few labels are all between them."""
    unlike = unlike_labels(state, {one.gate for one in gates if one.required}, by_arm=_asks_of_arms(state, at))
    return "; ".join(filter(None, (sentences.no_winner(state, gates), unlike)))


def _by_control(report: GateReport) -> bool:
    return report.metric is MetricKind.RUNTIME and report.limit is None


def _doubt(state: State, gates: Sequence[GateReport]) -> str:
    """Why a version that has passed does not go on yet, as a sentence; empty: nothing speaks against it."""
    found, same = suspected(state, gates), state.same_inputs
    if found is not None:
        return found.waits
    return unlike_inputs.suspected(state.terms, same) if same is not None and same.suspected else ""


def _period_over(
    state: State, at: Circumstances, gates: Sequence[GateReport], required: Sequence[GateReport]
) -> Decision:
    """No violation in the whole period: that counts where a harm would have shown."""
    # What earlier steps have seen does not count: traffic may have stopped since, or labels.
    judges = renewed(state) if at.rules >= _RENEWED and _is_last(state) else state.gates
    seen = {gate.gate.name: gate.step_n for gate in judges}
    needs = dict.fromkeys(seen, 1.0)
    if _is_last(state):
        bar = log_threshold(state.terms.policy.alpha_promote)
        needs = {gate.gate.name: needs_of(gate, bar) for gate in judges}
    thin = [report for report in required if seen[report.gate] < needs[report.gate]]
    # Where only labels decide, copies show nothing but that they do no harm.
    mirrored = state.shadowed and not required and state.copies.rows > 0
    names = {report.gate for report in required}
    asked = (gate.gate for gate in state.gates if gate.gate.name in names)
    agreeing = max((agreeing_looks(gate, state.terms, state.step) for gate in asked), default=0)
    # What so few looks cannot find they have not found.
    if at.rules >= _TAILS and not thin and state.judged < agreeing:
        return end_of_period(state, sentences.too_few_looks(state, agreeing))
    if at.rules >= _RENEWED and _is_last(state) and not thin and (unsafe := unsafe_gates(state, required)):
        return end_of_period(state, sentences.unsafe(state, unsafe), "NOT_SAFE")
    if at.rules >= _TESTED and _is_last(state) and not thin and (near := gates_near_margin(state, required)):
        return end_of_period(state, sentences.near_margin(state, near))
    if mirrored or (required and not thin):
        reason = sentences.no_violation(state, required, shown=_is_last(state))
        return _go_on(state, at, gates, reason, "NO_VIOLATION")
    return end_of_period(state, sentences.too_little(state, thin, seen, needs))


def _late_harm(state: State, at: Circumstances, gates: Sequence[GateReport]) -> Decision | None:
    """What follows where a version that may be promoted may have begun to do harm; None: nothing says so.

    What the last minutes were like shows soon after; one that still looks like it by then is not promoted. By key looks
    are far apart, and what has passed one is held against all counts since.
    """
    doubt = None if state.terms.sticky else suspected(state, gates) or worse_lately(state, gates)
    if doubt is None:
        return None
    # Who waits for a person's word is looked at often enough to be held up by chance some time.
    if at.approval_missing or at.elapsed - state.unlooked < _step(state).period * (1.0 + BEYOND):
        return Decision(Action.NONE, Verdict.CONTINUE, doubt.waits)
    return end_of_period(state, f"the period ended, and {doubt.reason}", "NOT_SAFE")


def _go_on(state: State, at: Circumstances, gates: Sequence[GateReport], reason: str, code: str) -> Decision:
    if at.rules >= _UNSEEN and _is_last(state) and (late := _late_harm(state, at, gates)) is not None:
        return late
    if _is_last(state) and state.shadowed:
        # What no caller has had cannot be promoted: its labels are unknown.
        reason = sentences.shadow_passed(state, reason)
        return Decision(Action.CANCEL, Verdict.INCONCLUSIVE, reason, "SHADOW_PASSED")
    if _is_last(state):
        if at.approval_missing:
            return Decision(Action.NONE, Verdict.PASS, sentences.awaits_approval(state, reason))
        return Decision(Action.PROMOTE, Verdict.PASS, reason, code)
    return Decision(Action.ADVANCE, Verdict.PASS, reason, code)


def _step(state: State) -> Step:
    return state.terms.plan.steps[state.step]


def _is_last(state: State) -> bool:
    return state.step == len(state.terms.plan.steps) - 1
