"""Evaluators that die at every point of a look: before and after each thing that they ask or do."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pytest

from evaluator.evidence.state import Look
from evaluator.ports import EndedError, LaneView, ProcessView, Recorded, RolloutView, SupersededError, VersionView
from evaluator.questions.replay import replay
from evaluator.reading_terms import TermsReader
from evaluator.terms import Terms
from evaluator.verdict.decision import Action, Decision
from evaluator.window.arms import ATTEMPTS
from evaluator.window.counts import Counts
from evaluator.window.readings import Reading
from tests.unit.evaluator.world import NAME, Counters, Ledger, World, world

PLACES = {
    "rollout",
    "lane",
    "version",
    "recorded",
    "between pages",
    "processes",
    "before it reads",
    "after it has read",
    "before it is recorded",
    "after it is recorded",
    "before it acts",
    "after it has acted",
}
"""Every point of a look."""


class KilledError(BaseException):
    """SIGKILL: nothing is caught, nothing is tidied up."""


@dataclass
class Fate:
    """Counts the points that an Evaluator passes, and ends it at one of them."""

    left: int = 1_000_000
    kills: int = 0
    places: set[str] = field(default_factory=set)

    def pass_by(self, place: str) -> None:
        self.left -= 1
        if self.left < 0:
            self.kills += 1
            self.places.add(place)
            raise KilledError


@dataclass
class Mortal(Ledger):
    """A Registry before and after whose every answer the Evaluator may die."""

    fate: Fate = field(default_factory=Fate)
    history: int = 0

    async def rollout(self, name: str) -> RolloutView:
        self.fate.pass_by("rollout")
        return await super().rollout(name)

    async def lane(self, model: str, segment: str) -> LaneView:
        self.fate.pass_by("lane")
        return await super().lane(model, segment)

    async def version(self, model: str, version: str) -> VersionView:
        self.fate.pass_by("version")
        return await super().version(model, version)

    async def recorded(self, name: str, after: int) -> AsyncIterator[Recorded]:
        self.fate.pass_by("recorded")
        async for page in super().recorded(name, after):
            yield page
            self.fate.pass_by("between pages")

    async def processes(self) -> Sequence[ProcessView]:
        self.fate.pass_by("processes")
        return await super().processes()

    async def record(self, name: str, look: Look, policy_hash: str, cursor: Counts, decision: Decision) -> None:
        self.fate.pass_by("before it is recorded")
        await super().record(name, look, policy_hash, cursor, decision)
        if look.sequence == 1:
            self.history = attempts(cursor)
        self.fate.pass_by("after it is recorded")

    async def act(self, rollout: RolloutView, sequence: int, decision: Decision) -> None:
        self.fate.pass_by("before it acts")
        if self.view.phase is None or sequence != self.view.sequence:
            raise SupersededError("somebody else was faster")
        await super().act(rollout, sequence, decision)
        self.view = replace(self.view, phase=None)
        self.fate.pass_by("after it has acted")


@dataclass
class MortalCounters(Counters):
    """Metrics after whose reading the Evaluator may die."""

    fate: Fate = field(default_factory=Fate)

    async def read(self, processes: Sequence[ProcessView], terms: Terms, timeout: float) -> Sequence[Reading]:
        self.fate.pass_by("before it reads")
        found = await super().read(processes, terms, timeout)
        self.fate.pass_by("after it has read")
        return found


def mortal(errors: float) -> tuple[World, Mortal, Fate]:
    made = world()
    fate = Fate()
    ledger = Mortal(made.ledger.view, fate=fate)
    made.source.fleet.test.errors = errors
    return replace(made, ledger=ledger, source=MortalCounters(made.source.fleet, fate=fate)), ledger, fate


def attempts(counts: Counts) -> int:
    """Of v2, which counted from zero within the rollout."""
    return sum(
        sum(one.counts)
        for instance in counts
        for one in instance.series
        if one.metric == ATTEMPTS and one.values()["version"] == "v2"
    )


async def live_and_die(made: World, ledger: Mortal, fate: Fate, chance: random.Random) -> None:
    """Evaluators one after the other, each killed after a few points, until the rollout has ended."""
    for _ in range(400):
        if ledger.view.phase is None:
            return
        evaluator = made.evaluator()
        fate.left = chance.randrange(1, 18)
        with suppress(KilledError):
            while ledger.view.phase is not None:
                made.flow()
                with suppress(SupersededError, EndedError):
                    await evaluator.look(NAME)
    raise AssertionError("the rollout never ended")


@pytest.mark.parametrize(("errors", "action"), [(0.002, Action.PROMOTE), (0.05, Action.ROLLBACK)])
async def test_two_hundred_kills_lose_and_repeat_nothing(errors: float, action: Action) -> None:
    kills, places = 0, set[str]()
    for seed in range(60):
        made, ledger, fate = mortal(errors)
        await live_and_die(made, ledger, fate, random.Random(seed))
        kills += fate.kills
        places |= fate.places
        assert [one.action for one in ledger.acted] == [action]
        assert [look.sequence for look in ledger.looks] == list(range(1, len(ledger.looks) + 1))
        # What v2 had counted before the first look is history, and all else is in exactly one window.
        in_windows = sum(attempts(look.window) for look in ledger.looks)
        assert in_windows == attempts(ledger.cursor) - ledger.history > 0
        fate.left = 1_000_000
        terms = (await TermsReader(ledger).read(ledger.view, "v1")).terms
        found = await replay(terms, ledger.concluded(NAME))
        assert (found.looks, found.parts_at) == (len(ledger.looks), 0)
        if kills >= 200 and len(places) == len(PLACES):
            break
    assert kills >= 200
    assert places == PLACES
