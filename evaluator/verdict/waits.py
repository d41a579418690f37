"""What a gate waits for, for people."""

import math
from collections.abc import Container

from evaluator import words
from evaluator.evidence.ledger import Ledger
from evaluator.evidence.state import State
from evaluator.gates.cohorts import CohortGate
from evaluator.gates.distributions import DistributionGate
from evaluator.gates.each_class import EachClassGate
from evaluator.gates.limits import RuntimeLimitGate
from evaluator.gates.maturity import MOST_LATE, is_alike, is_fair, may_hide, misleading
from evaluator.gates.opening import GateState
from evaluator.gates.paired import PairedGate
from evaluator.statistics import rates, runtime
from evaluator.statistics.process import log_threshold
from evaluator.verdict.unshown import unshown
from services.common.policy.metrics import LABEL_METRICS, MetricKind
from services.common.policy.records import Gate

_NOUNS = {
    MetricKind.ERRORS: "attempt",
    MetricKind.RUNTIME: "batch",
    MetricKind.ACCURACY: "mature label",
    MetricKind.ABSOLUTE_ERROR: "mature label",
    MetricKind.VALUE: "mature value",
    MetricKind.CUSTOM: "count",
    MetricKind.PRECISION: "mature positive answer",
    MetricKind.RECALL: "mature positive row",
    MetricKind.FALSE_POSITIVE_RATE: "mature negative row",
    MetricKind.F1: "mature positive row",
    MetricKind.CLASS_BALANCE: "prediction",
    MetricKind.DISAGREEMENT: "mirrored row",
    MetricKind.PAIRED_ACCURACY: "labelled mirrored row",
}


def waits_for(state: State, gate: GateState, needed: int, seconds: float) -> str:
    """What an undecided gate waits for, as a sentence part.

    Args:
        state: the evidence.
        gate: the gate.
        needed: forecast of the test arm's attempts, labels or batches; 0: unknown.
        seconds: the same in time; 0: unknown.
    """
    terms = state.terms
    noun = _NOUNS[gate.gate.metric]
    if waits := _waits_for_whole_counts(state, gate.gate) or (unshown(state, gate) if gate.test_n else ""):
        return waits
    if (waits := _waits_for_processes(state, gate)) and (gate.test_n or state.others.apart):
        return waits
    if gate.test_n == 0:
        callers = f" for callers in {gate.gate.segment}" if gate.gate.segment else ""
        return f"{words.plural(noun)} of {terms.test}{callers}: none yet"
    if isinstance(gate, EachClassGate):
        return f"{waits_for(state, gate.awaited, needed, seconds)} (class {gate.awaited.gate.positive})"
    if isinstance(gate, CohortGate):
        return gate.obstacle(terms.test, terms.stable) or _waits_for_look(state, gate, seconds)
    known, enough = 0.0, 0
    if isinstance(gate, DistributionGate):
        known, enough = float(gate.safe.past.counts.sum()), runtime.ENOUGH_PAST
    elif not isinstance(gate, RuntimeLimitGate | PairedGate) and gate.gate.limit is None:
        known, enough = float(gate.safe.n_past.min()), rates.ENOUGH_PAST
    if known < enough:
        return f"{words.many(round(enough - known), noun)} of {terms.stable}, to know what is usual"
    why = _to_show_the_tail(state, gate)
    if not needed:
        return f"more {words.plural(noun)} of {terms.test}{why}"
    forecast = f"about {words.some(needed)} more {noun if needed == 1 else words.plural(noun)} of {terms.test}{why}"
    return f"{forecast}: {words.duration(seconds)} at this traffic" if seconds else forecast


def _to_show_the_tail(state: State, gate: GateState) -> str:
    """What for, where the median is shown to be no slower and only the slowest batches are waited for."""
    bar = log_threshold(state.terms.policy.alpha_promote)
    if not isinstance(gate, DistributionGate) or gate.safe.log_e < bar or gate.shows_tail(bar):
        return ""
    return f", to show that hardly more of them take long than of {state.terms.stable}'s"


def _waits_for_processes(state: State, gate: GateState) -> str:
    """What a gate waits for that compares two processes; empty: nothing, or it compares none."""
    if not isinstance(gate, DistributionGate) or gate.gate.metric is not MetricKind.RUNTIME:
        return ""
    if state.others.apart:
        return f"processes that are as busy: {unlike_processes(state)}"
    noun = words.plural(_NOUNS[MetricKind.RUNTIME])
    return "" if gate.control_n else f"{noun} of {state.terms.stable}'s control process: none yet"


def _waits_for_copies(state: State, gate: Gate) -> str:
    """That requests without a copy may be of one class; empty: nearly all have one, or callers have the answers."""
    share, margin = state.copies.share, gate.harm.offset
    if not (state.shadowed and state.copies.may_move(margin)):
        return ""
    return (
        f"copies of nearly all requests: {words.percent(share)} of those that {state.terms.stable}'s control process "
        f"answered were mirrored, and the others may be of one class; {words.percent(1.0 - margin / 2.0)} are needed"
    )


def unlike_processes(state: State) -> str:
    """Why the batches of two processes cannot be compared, as a sentence part."""
    terms, (test, control) = state.terms, state.others.shares
    lanes = " and ".join(segment or "the default one" for segment in state.others.segments)
    return (
        f"{words.percent(test)} of the requests that {terms.test}'s process answers are of other lanes ({lanes}), and "
        f"{words.percent(control)} of those of {terms.stable}'s control process, and the busier one is the faster; a "
        "runtime gate with a limit does not compare them, and one that is not required holds nothing up"
    )


def _waits_for_look(state: State, gate: CohortGate, seconds: float) -> str:
    at = gate.schedule.following * state.terms.plan.steps[max(state.step, 0)].period
    left = max(at - state.judged_seconds, 0.0)
    following = words.duration(left)
    if not round(seconds) > round(left):
        return f"its next look, in {following}: by key there are few"
    expected = f"its look in {words.duration(seconds)}, which should show it if keys go on coming as they do"
    return f"{expected}; the next is in {following}"


def _waits_for_whole_counts(state: State, gate: Gate) -> str:
    """What the gate's labels, or copies, are to be or to have; empty: nothing, or it is judged by neither."""
    if gate.metric is MetricKind.PAIRED_ACCURACY:
        return _waits_for_pairs(state, gate)
    if gate.metric is MetricKind.CLASS_BALANCE:
        return _waits_for_copies(state, gate)
    return _waits_for_labels(state, gate) if gate.metric in LABEL_METRICS else ""


def _waits_for_pairs(state: State, gate: Gate) -> str:
    maturity, coverage, paired = state.terms.policy.labels, state.paired_coverage, state.paired
    if state.resting:
        return "the end of the drift of the inputs"
    if not paired.labels()[0]:
        return "labels of mirrored rows: none yet"
    if coverage is None:
        return _waits_for_age(state, paired, "labels of mirrored rows")
    if not coverage[0] >= maturity.min_coverage:
        return (
            f"labels: those of {words.percent(coverage[0])} of the mirrored rows met both answers, and of "
            f"{words.percent(maturity.min_coverage)} they are needed"
        )
    if not state.knows_lateness:
        return _waits_for_lateness(state)
    counted = paired.total(list(paired.slices))
    if not is_fair(counted, gate.harm.offset, maturity):
        return (
            "labels that come alike whether the versions agree or differ: as they have come, a version may seem worse "
            f"or better by {words.points(misleading(counted))}, and half of {words.points(gate.harm.offset)} is allowed"
        )
    return f"pairs of nearly all rows: {hidden}" if (hidden := without_pairs(state, gate)) else ""


def without_pairs(state: State, gate: Gate) -> str:
    """How many mirrored rows have no pair, and what to look at, as a sentence part; empty: so few that none matter."""
    if not may_hide(gate, state.unpaired):
        return ""
    test, stable = state.terms.test, state.terms.stable
    return (
        f"{words.percent(1.0 - state.unpaired)} of the rows that {stable}'s control process answered have an answer of "
        f"{test} beside it, and {words.percent(1.0 - gate.safe.offset / 2.0)} are needed, since {test} may be wrong on "
        "the others: it failed at them, or was not asked (crossfade.shadow.dropped.count says why)"
    )


def _waits_for_age(state: State, ledger: Ledger, noun: str) -> str:
    """Labels are taken a slice of routing time at a time, when it has ended and is old enough."""
    seconds, age = state.slice_seconds(state.epoch), words.duration(state.label_age)
    slices = [key for key, counts in ledger.slices.items() if key[0] == state.epoch and counts.test_predictions]
    if seconds is None or not slices:
        return f"{noun} to be {age} old"
    left = (min(slices)[1] + 1) * seconds + state.label_age - state.time
    if left <= 0.0:
        return f"{noun} to be {age} old"
    return f"{noun} to be {age} old, in slices of {words.duration(seconds)}: the first is in {words.duration(left)}"


def _waits_for_lateness(state: State) -> str:
    half = state.terms.plan.steps[max(state.step, 0)].period / 2.0
    left = words.duration(max(half - state.judged_seconds, 0.0))
    return f"labels that may be late: the lane is new to them, so half of the period is waited for ({left} more)"


def _labels_of(state: State, gate: Gate) -> tuple[Ledger, tuple[float, float] | None, str]:
    """What the gate is judged by, how much of it has come, and what people call it."""
    if gate.metric is MetricKind.VALUE:
        return state.values, state.value_coverage, "values"
    if gate.segment:
        floor = state.floors.get(gate.segment, Ledger())
        return floor, state.floor_coverage.get(gate.segment), f"labels for callers in {gate.segment}"
    return state.ledger, state.coverage, "labels"


def unlike_answers(state: State, gate: Gate) -> str:
    """Which answers get labels unlike all others, and what to do, as a sentence part; empty: none of matter."""
    one = state.standing_out(gate)
    if one is None or not state.knows_lateness:
        return ""
    version, (share, rest) = (state.terms.test, state.terms.stable)[one.arm], one.coverage
    others, sample = (f"its answers {one.others}", "both") if one.others else ("all its other answers", "all of them")
    apart = 2.0 * state.terms.policy.labels.max_coverage_gap
    return (
        f"{words.percent(share)} of {version}'s answers {one.name} have a label and {words.percent(rest)} of {others}, "
        f"where {words.percent(apart)} less than the higher is allowed; what was missed may be among those without: "
        f"label a random sample of {sample}, or set labels.min_age where some labels come later"
    )


def unlike_arms(state: State, gate: Gate) -> str:
    """Which version's answers lack labels, what that may hide, and what to do, as a sentence part; or ""."""
    found, (_, coverage, _) = state.flattered(gate), _labels_of(state, gate)
    blamed = found is None and state.blamed(gate)
    if coverage is None or (found is None and not blamed):
        return ""
    test, stable = state.terms.test, state.terms.stable
    fewer = state.reach.ratio < 1.0 if found is None else found.ratio < 1.0
    poor, lacks = (test if fewer else stable), ("wrong" if fewer is not blamed else "right")
    return (
        f"{words.percent(coverage[0])} of {test}'s answers have one and {words.percent(coverage[1])} of {stable}'s, "
        f"which chance hardly brings; what {poor} lacks may be of its {lacks} answers, and so much is beyond half of "
        f"what {gate.name} allows: label a random sample of both, or set labels.min_age where some labels come later"
    )


def unlike_labels(state: State, names: Container[str], *, by_arm: bool) -> str:
    """Whose answers lack labels, by which one of the named gates may be misled, as a sentence part; empty: nobody's.

    Args:
        state: the evidence.
        names: of gates.
        by_arm: labels have to reach both arms alike as well as the answers of all classes.
    """
    for gate in (gate.gate for gate in state.gates if gate.gate.name in names):
        if unlike := unlike_answers(state, gate):
            return f"labels do not reach the answers of all classes alike: {unlike}"
        if by_arm and (unlike := unlike_arms(state, gate)):
            return f"labels do not reach both versions alike: {unlike}"
    return ""


def _waits_for_labels(state: State, gate: Gate) -> str:
    terms = state.terms
    ledger, coverage, noun = _labels_of(state, gate)
    test_labels, stable_labels = ledger.labels()
    if state.resting:
        return "the end of the drift of the inputs"
    for labels, version in ((stable_labels, terms.stable), (test_labels, terms.test)):
        if not labels:
            return f"{noun} of {version}: none yet"
    if coverage is None:
        return _waits_for_age(state, ledger, noun)
    if state.loses_labels:
        late = words.many(state.too_late, noun.split(" ", 1)[0].removesuffix("s"))
        return (
            f"{noun} that come in time: {late} of {terms.test} came too late to be counted, more than "
            f"{words.percent(MOST_LATE)}, and those may be of its wrong answers; a longer period keeps them for longer"
        )
    if not state.knows_lateness and gate.metric is not MetricKind.VALUE:
        return _waits_for_lateness(state)
    return _waits_for_coverage(state, gate, coverage, noun)


def _waits_for_coverage(state: State, gate: Gate, coverage: tuple[float, float], noun: str) -> str:
    terms, maturity = state.terms, state.terms.policy.labels
    if unlike := unlike_answers(state, gate):
        return f"{noun} that reach the answers of all classes alike: {unlike}"
    for share, version in zip(coverage, (terms.test, terms.stable), strict=True):
        if math.isnan(share):
            return f"answers of {version} to compare with: none in the same slices yet"
        if share < maturity.min_coverage:
            return (
                f"{noun}: {words.percent(share)} of {version}'s answers have one, "
                f"{words.percent(maturity.min_coverage)} are needed"
            )
    if not is_alike(coverage, maturity):
        return (
            f"{noun} that reach both versions alike: {words.percent(coverage[0])} of {terms.test}'s answers have "
            f"one and {words.percent(coverage[1])} of {terms.stable}'s; "
            f"they may differ by {words.points(maturity.max_coverage_gap)}"
        )
    if unlike := unlike_arms(state, gate):
        return f"{noun} that reach both versions alike: {unlike}"
    return ""
