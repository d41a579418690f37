"""Reasons, as sentences for an on-call engineer: numbers of both arms, what is allowed, what it waits for."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from evaluator import words
from evaluator.evidence.state import State
from evaluator.gates.cohorts import CohortGate
from evaluator.gates.each_class import EachClassGate
from evaluator.gates.opening import GateState
from evaluator.gates.rates import RateGate
from evaluator.gates.step_counts import StepCounts
from evaluator.verdict.comparisons import allowed, compared
from evaluator.verdict.reports import DriftReport, GateReport, Verdict
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Gate
from services.common.policy.timing import AGREEING_LOOKS

_MUCH: Final = 1.2
"""Times as many as at the start: what is less is what a longer look at the same rate brings."""


def harm(state: State, report: GateReport) -> str:
    """Why the version is rolled back."""
    return f"{compared(state, report)}; {allowed(report, _gate(state, report).harm)}"


def safe(state: State, required: Sequence[GateReport]) -> str:
    """Why the version passes."""
    test, stable = state.terms.test, state.terms.stable
    better: list[str] = []
    alike: list[str] = []
    limited: list[str] = []
    for report in required:
        if report.primary:
            better.append(f"{test} is better than {stable} in {report.gate}: {compared(state, report)}")
        else:
            part = f"{compared(state, report)}, {allowed(report, _gate(state, report).safe)}"
            (alike if report.limit is None else limited).append(part)
    no_worse = [f"{test} is no worse than {stable}: {'; '.join(alike)}"] if alike else []
    within = [f"{test} keeps to what was asked for: {'; '.join(limited)}"] if limited else []
    return ". ".join([*better, *no_worse, *within])


def no_winner(state: State, reports: Sequence[GateReport]) -> str:
    """Why an A/B test ends without a winner."""
    primary = next(report for report in reports if report.primary)
    test, stable = state.terms.test, state.terms.stable
    if primary.safe.enough:
        open_gates = ", ".join(
            report.gate for report in reports if report.required and report.verdict is not Verdict.PASS
        )
        return (
            f"the period ended, and {test} is better in {primary.gate}, but {open_gates} is not shown to be safe: give "
            "it more requests (a longer period, a larger share) or a wider safe margin"
        )
    return (
        f"the period ended, and {test} was not shown to be better than {stable} in {primary.gate}: "
        f"{compared(state, primary)}"
    )


def no_violation(state: State, required: Sequence[GateReport], *, shown: bool) -> str:
    """Why the end of a period passes the version.

    Args:
        state: the evidence.
        required: the gates that promotion needs.
        shown: each had the requests that a harm needs to show.
    """
    counted = "; ".join(compared(state, report) for report in required)
    period = words.duration(state.terms.plan.steps[state.step].period)
    would = ", in which a harm would have shown" if shown else ""
    return f"no gate was violated in {period}{would}: {counted}"


def too_little(state: State, thin: Sequence[GateReport], seen: Mapping[str, int], needs: Mapping[str, float]) -> str:
    """Why the end of a period passes nothing.

    Args:
        state: the evidence.
        thin: the gates that had too little.
        seen: attempts, batches or labels of the test version in this step, by gate.
        needs: those that each gate needs; infinity: no number is known; 1: any, before the last step.
    """
    parts = []
    for report in thin:
        have = f"{report.gate} has {words.many(seen[report.gate], _noun(report))} of {state.terms.test} in this step"
        need = needs[report.gate]
        gate = _evidence(state, report)
        if isinstance(gate, EachClassGate):
            have = f"{have} that count for class {gate.thinnest}"
        if isinstance(gate, CohortGate) and (obstacle := gate.obstacle(state.terms.test, state.terms.stable)):
            have = f"{have}, and needs {obstacle}"
        if gate.gate.margins_meet and not isinstance(gate, CohortGate):
            have = f"{have}, and its harm and safe margins (almost) meet, so that only proof passes it: make safe wider"
        elif need > 1.0:
            have = f"{have}{_needed(gate, need)}"
        parts.append(have)
    by_key = "; assigned by key, only what is shown to be no worse passes" if state.terms.sticky else ""
    return f"the period ended with too little evidence: {'; '.join(parts)}{by_key}"


def _needed(gate: GateState, need: float) -> str:
    """What a harm takes to show, which may be more than it seemed to at the start, as after an incident's end."""
    first = gate.needs if gate.needs and need >= _MUCH * gate.needs and gate.needs < math.inf else None
    known = "" if first is None else f" as things are ({words.count(first)} as they were at the start)"
    if need < math.inf:
        return f", and {words.count(need)} are needed to see a harm{known}"
    return known and f", and no number is enough to see a harm{known}"


def unsafe(state: State, reports: Sequence[GateReport]) -> str:
    """Why the end of a period passes no version that failed in bursts; `reports`: of the gates that they are of."""
    return f"the period ended, and no {AGREEING_LOOKS} looks agreed on a harm, but {not_in_sum(state, reports)}"


def near_margin(state: State, reports: Sequence[GateReport]) -> str:
    """Why the end of a period passes no version that is within its safe margin by chance, perhaps."""
    parts = (f"{compared(state, report)}; {allowed(report, _gate(state, report).safe)}" for report in reports)
    return f"the period ended, and {state.terms.test} is too near to what is allowed: {', and '.join(parts)}"


def not_in_sum(state: State, reports: Sequence[GateReport]) -> str:
    """That a version is not safe by all that was judged, whatever its gates' evidence says by now."""
    parts = (
        f"{compared(state, report)}{_kept_back(state, report)}; {allowed(report, _gate(state, report).safe)}"
        for report in reports
    )
    return f"in sum {state.terms.test} is not safe: {', and '.join(parts)}"


def _kept_back(state: State, report: GateReport) -> str:
    """What breakers kept from the version while it failed, which is in the sum and in no other count."""
    gate = _evidence(state, report)
    kept, failed = gate.kept_back if isinstance(gate, RateGate) else (0, 0)
    if not kept:
        return ""
    test = state.terms.test
    return (
        f", and by its probes {test} would have failed {words.count(failed)} of {words.count(kept)} further requests, "
        "which Routers kept from it while it failed"
    )


def too_few_looks(state: State, agreeing: int) -> str:
    """Why a period in which no harm could have been found passes nothing; `agreeing`: looks that find one together."""
    return (
        f"the period ended after {words.many(state.judged, 'look')} that judged anything, and {agreeing} have to agree "
        "on a harm, so that none could have shown: make the period longer, or look_interval shorter"
    )


def unmeasured(state: State, bounds: Sequence[float]) -> str:
    """Why absolute errors outside the buckets' bounds pass nothing."""
    return (
        f"half of {state.terms.stable}'s absolute errors are below {bounds[0]:f} or above {bounds[-1]:,.0f}, where "
        "none are told apart: let the model answer in another unit, or make the gate not required"
    )


def drifted(state: State, drift: DriftReport) -> str:
    """Why the plan stands."""
    named = ", ".join(f"{one.name} by {words.points(one.shift)}" for one in drift.features[:3] if one.shift > 0)
    moved = f" (most: {named})" if named else ""
    return (
        f"inputs drifted in both arms{moved}: {state.terms.test} is not blamed, "
        "and the plan goes on when the drift has ended"
    )


def suspected(state: State, report: GateReport) -> str:
    """Why a version that has passed does not go on."""
    return f"{state.terms.test} has passed, but may be doing harm: {compared(state, report)}"


def worse_lately(state: State, report: GateReport, seen: StepCounts) -> str:
    """Why a version that has passed does not go on; `seen`: both arms in its latest looks."""
    test, stable = state.terms.test, state.terms.stable
    bad = "failed" if report.metric is MetricKind.ERRORS else "were bad"
    return (
        f"{test} has passed, but is worse lately: of its latest {words.many(seen.n_test, _noun(report))} "
        f"{words.percent(seen.x_test / seen.n_test)} {bad}, and of {stable}'s {words.percent(seen.stable_rate)}"
    )


def shortest_time(state: State, left: float) -> str:
    """What a version that has passed waits for."""
    return f"{state.terms.test} has passed and waits for the step's shortest time: {words.duration(left)} more"


def shadow_passed(state: State, reason: str) -> str:
    """Why a plan without a LIVE step ends."""
    test, pairs, other = state.terms.test, state.copies.rows, state.copies.different
    seen = f"; {words.many(pairs, 'mirrored row')}, {words.count(other)} answered otherwise" if pairs else ""
    return f"{test} has passed in shadow ({reason}{seen}); its plan has no LIVE step, so it waits to be started live"


def broken_split(state: State) -> str:
    """Why a rollout whose requests are not split as it asks for ends."""
    split, shadow = state.split, not state.split.shares[0]
    got = f"{words.percent(split.test_share)} of {words.many(sum(split.counts), 'request')}"
    wanted = words.percent((split.shares[1] if shadow else split.shares[0]) / 10_000)
    arm = f"{state.terms.stable}'s control process" if shadow else state.terms.test
    return (
        f"the split is broken: {got} were drawn for {arm}, and its share is {wanted}, so what was counted is no "
        "evidence; see whether every Router runs one release (crossfade instances), and start the rollout again"
    )


def too_few_copies(state: State) -> str:
    """Why copies show nothing of a version."""
    share, stable = words.percent(state.copies.share), state.terms.stable
    return (
        f"{share} of the requests that {stable}'s control process answered were mirrored, and those that were left out "
        "may be others: crossfade.shadow.dropped.count says why"
    )


def awaits_approval(state: State, reason: str) -> str:
    """What a version waits for that has passed and is to be promoted by a person's word."""
    terms = state.terms
    where = f" --segment {terms.segment}" if terms.segment else ""
    return f"{terms.test} has passed ({reason}) and waits for a person to agree: crossfade approve {terms.model}{where}"


def waits(reports: Sequence[GateReport]) -> str:
    """What the rollout waits for."""
    longest = max(reports, key=lambda report: (report.needed_seconds, report.needed), default=None)
    if longest is None:
        return "waits for the first evidence"
    blind = [report for report in reports if report.waits_for and not report.needed]
    chosen = blind[0] if blind else longest
    return f"waits for {chosen.waits_for}" if chosen.waits_for else f"waits for {chosen.gate}"


def _gate(state: State, report: GateReport) -> Gate:
    return next(gate for gate in state.terms.policy.gates if gate.name == report.gate)


_NOUNS: Final = {
    MetricKind.ERRORS: "attempt",
    MetricKind.RUNTIME: "batch",
    MetricKind.CLASS_BALANCE: "prediction",
    MetricKind.DISAGREEMENT: "mirrored row",
    MetricKind.CUSTOM: "count",
    MetricKind.PAIRED_ACCURACY: "labelled mirrored row",
}


def _noun(report: GateReport) -> str:
    return _NOUNS.get(report.metric, "label")


def _evidence(state: State, report: GateReport) -> GateState:
    return next(gate for gate in state.gates if gate.gate.name == report.gate)
