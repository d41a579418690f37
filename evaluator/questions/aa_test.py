"""A/A: the judge judges itself. A recorded rollout's control arm against the rest of its stable version.

Both are the same version, and its requests are drawn by chance. A judge that finds harm here is misled by something in
the traffic (requests that come together, labels that reach the arms unlike), and would roll good versions back for it;
or pass worse ones, where it is the rest that is found to be worse: control and the version under test are served alike,
by processes of their own. So both are judged, each against the other, at the level of a rollout.

Runtimes are left out, for control's are recorded alone: it is what they are compared with. So are gates with a limit:
what they say of a version is no comparison, and stable itself may be beyond it.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

from evaluator.evidence.fold import fold
from evaluator.evidence.state import State, start
from evaluator.questions.replay import CompactedError, Moment, Replayed
from evaluator.terms import Terms
from evaluator.verdict.concluded import Concluded
from evaluator.verdict.decide import find_violation
from evaluator.verdict.decision import Action, Decision
from evaluator.verdict.reports import GateReport, Verdict, report_gates
from evaluator.window.arms import CONTROL, INFERENCE, LIVE
from evaluator.window.counts import Counts, InstanceCounts, Series, arrange

_CONTROL_NAME: Final = "{}'s control"


def itself(terms: Terms) -> Terms:
    """The terms under which a rollout's stable version is judged against itself."""
    return replace(terms, test=_CONTROL_NAME.format(terms.stable), test_profile=terms.stable_profile)


def turned(terms: Terms) -> Terms:
    """Those under which the rest of the stable version is judged against its control arm; `terms`: of `itself`."""
    return replace(terms, test=terms.stable, stable=terms.test)


def relabelled(window: Counts, terms: Terms) -> Counts:
    """A recorded window with stable's control arm as the version under test, and without the one that was.

    Args:
        window: as it was recorded.
        terms: of `itself`.
    """
    return tuple(
        InstanceCounts(
            instance.instance_id,
            instance.read_us,
            arrange({one.key: one for series in instance.series if (one := _relabelled(series, terms)) is not None}),
        )
        for instance in window
    )


async def judge_itself(terms: Terms, recorded: AsyncIterator[Concluded]) -> Replayed:
    """What the judge would have concluded of a stable version against itself.

    Args:
        terms: the rollout's.
        recorded: every look of it, oldest first.

    Raises:
        CompactedError: they don't begin with the first, or one is missing.
    """
    control = start(itself(terms))
    rest, found = start(turned(control.terms)), Replayed()
    async for one in recorded:
        if one.look.sequence != control.sequence + 1:
            raise CompactedError
        look = replace(one.look, window=relabelled(one.look.window, control.terms))
        control, rest = fold(control, look), fold(rest, look)
        decision = _decision(control, rest)
        found = replace(found, looks=found.looks + 1, last=decision)
        if decision.action is Action.ROLLBACK and not found.replayed:
            moment = Moment(
                control.sequence, control.time, control.step, decision.action, decision.gate, decision.reason
            )
            found = replace(found, replayed=(moment,))
    return found


def _decision(control: State, rest: State) -> Decision:
    """What is found of either arm; its gates are those of control, or of the rest where that is found to be worse."""
    compared = []
    for state in (control, rest):
        gates = tuple(one for one in report_gates(state, control_missing=False) if one.limit is None)
        found = find_violation(state, gates)
        if found is not None:
            return replace(found, gates=gates)
        compared.append(gates)
    return Decision(Action.NONE, Verdict.CONTINUE, _calm(control, *compared), gates=compared[0])


def _calm(state: State, gates: tuple[GateReport, ...], of_rest: tuple[GateReport, ...]) -> str:
    judged = [one for one in (*gates, *of_rest) if one.test.n and one.baseline.n and one.verdict is not Verdict.NONE]
    stable = state.terms.stable
    if not judged and any(one.test.n for one in gates):
        return f"nothing can be compared: {state.terms.test} had all of {stable}'s traffic, as with a share of 50 %"
    if not judged:
        return f"nothing was counted of {state.terms.test} that could be compared"
    nearest = max(judged, key=lambda report: report.harm.log_e / report.harm.bar)
    part = max(0.0, nearest.harm.log_e / nearest.harm.bar)
    calm = f"no gate finds {stable} worse than itself, nor better"
    near = f"; {nearest.gate} came nearest, to {part * 100:.0f} % of its bar"
    return calm + (near if part else ", and none has any evidence of it") + _unjudged(state)


def _unjudged(state: State) -> str:
    """That a control process which is slow is not found; empty: nothing is compared with it."""
    if not state.terms.compares_runtimes:
        return ""
    return (
        f". Runtimes were not judged: they are recorded of {state.terms.test} alone, so that nothing here says whether "
        "its process is slower than the others, by which a slower version would pass"
    )


def _relabelled(one: Series, terms: Terms) -> Series | None:
    at = one.values()
    if at.get("version") != terms.stable:
        return None
    if at.get("traffic") != CONTROL:
        return one
    if one.metric == INFERENCE:
        return None
    moved = tuple(sorted((at | {"version": terms.test, "traffic": LIVE}).items()))
    return replace(one, attributes=moved)
