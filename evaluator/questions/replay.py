"""What another policy would have decided about a rollout, and when: its recorded looks, folded and decided again.

Under the recorded policy the conclusions are the recorded ones, bit for bit, since they follow from the windows and the
circumstances alone, by the rules that each look was concluded by. Under another one they are what it would conclude by
the rules of this release, up to its first decision that ends the rollout; what was counted after that would have had
other traffic.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from evaluator.evidence.fold import fold
from evaluator.evidence.state import State, start
from evaluator.terms import Terms
from evaluator.verdict.concluded import Concluded
from evaluator.verdict.decide import decide
from evaluator.verdict.decision import RULES, Action, Decision

ENDING = frozenset({Action.PROMOTE, Action.ROLLBACK, Action.CANCEL})
"""What ends a rollout."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A decision to do something: the look, when it was in seconds since 1970-01-01 UTC, the step, what and why."""

    sequence: int
    time: float
    step: int
    action: Action
    gate: str
    reason: str


@dataclass(frozen=True, slots=True)
class Replayed:
    """How a rollout would have gone.

    Attributes:
        looks: that were replayed: up to the one that would have ended it.
        parts_at: the first look whose conclusion differs from the recorded one; 0: none.
        recorded: what was decided, where the action changes, to the recording's end.
        replayed: what would have been decided, where the action changes.
        last: the conclusion of the last look replayed; None: there was none.
    """

    looks: int = 0
    parts_at: int = 0
    recorded: tuple[Moment, ...] = ()
    replayed: tuple[Moment, ...] = ()
    last: Decision | None = None


class CompactedError(Exception):
    """The rollout's first looks are not kept any more."""


class UnknownCircumstancesError(Exception):
    """A look was recorded without its circumstances."""


async def replay(terms: Terms, recorded: AsyncIterator[Concluded], *, anew: bool = False) -> Replayed:
    """Replays a rollout under some terms.

    Args:
        terms: to judge by.
        recorded: every look of the rollout, oldest first.
        anew: by the rules of this release, and not by those that the looks were concluded by.

    Raises:
        CompactedError: they don't begin with the first, or one is missing.
        UnknownCircumstancesError: see there.
    """
    state = start(terms)
    found = Replayed()
    ended = False
    async for one in recorded:
        if ended:
            found = replace(found, recorded=_noted(found.recorded, _recorded(one, one.look.step)))
            continue
        if anew and one.at is not None:
            one = replace(one, at=replace(one.at, rules=RULES))  # noqa: PLW2901 - as it would be concluded today
        state, found = _step(state, found, one)
        # The Registry may have refused a recorded one (too few Workers were ready): then the looks go on.
        ended = found.last is not None and found.last.action in ENDING and found.last.action is not one.action
    return found


def _step(state: State, found: Replayed, one: Concluded) -> tuple[State, Replayed]:
    if one.look.sequence != state.sequence + 1:
        raise CompactedError
    if one.at is None:
        raise UnknownCircumstancesError
    state = fold(state, one.look)
    decision = decide(state, one.at)
    same = (decision.action, decision.gate, decision.reason) == (one.action, one.gate, one.reason)
    would_be = Moment(one.look.sequence, one.at.now, state.step, decision.action, decision.gate, decision.reason)
    return state, replace(
        found,
        looks=found.looks + 1,
        parts_at=found.parts_at or (0 if same else one.look.sequence),
        recorded=_noted(found.recorded, _recorded(one, state.step)),
        replayed=_noted(found.replayed, would_be),
        last=decision,
    )


def _recorded(one: Concluded, step: int) -> Moment:
    now = one.look.time if one.at is None else one.at.now
    return Moment(one.look.sequence, now, step, one.action, one.gate, one.reason)


def _noted(so_far: tuple[Moment, ...], moment: Moment) -> tuple[Moment, ...]:
    """With the moment, if something is done at it that was not done just so at the step's last one."""
    if moment.action is Action.NONE:
        return so_far
    last = so_far[-1] if so_far else None
    if last is not None and (last.action, last.step) == (moment.action, moment.step):
        return so_far
    return (*so_far, moment)
