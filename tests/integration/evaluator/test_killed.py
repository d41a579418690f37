"""An Evaluator as a process that is killed again and again: what is recorded is as if it had never been."""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass

import pytest

from crossfade.common.v1 import analysis_pb2
from crossfade.registry.v1 import resources_pb2
from evaluator.evidence.fold import fold
from evaluator.evidence.state import start
from evaluator.rpc import proto_summary, proto_views
from evaluator.terms import Terms
from evaluator.verdict.decide import decide
from evaluator.window.counts import Key, Series
from evaluator.window.snapshots import series_of
from evaluator.window.windows import FIRST_READ_METRICS
from services.common.policy.records import PeriodEnd
from tests.fakes.metric_servers import Answer, MetricServer
from tests.integration.evaluator.conftest import MakeScene
from tests.integration.evaluator.scene import quick_terms
from tests.integration.evaluator.test_rollouts_over_grpc import ended
from tests.support.evaluator_process import EvaluatorProcess
from tests.support.wait import until

KILLS = 20
ONE_LOOK, SEVERAL_LOOKS = 0.05, 1.0
"""Seconds after it has read."""
Cells = Counter[tuple[Key, object]]
"""Counts by series and bucket or label."""


def cells(series: tuple[Series, ...]) -> Cells:
    return Counter(
        {
            (one.key, place): count
            for one in series
            for place, count in zip(one.labels or range(len(one.counts)), one.counts, strict=True)
            if count
        }
    )


def served_at(server: MetricServer, read_us: int) -> Answer:
    """What a look got that had read the process by then: there is never more than one Evaluator."""
    return next(answer for answer in reversed(server.answers) if answer.time * 1e6 <= read_us)


def check_windows(server: MetricServer, looks: list[analysis_pb2.Analysis], terms: Terms) -> None:
    """Each window has what the process served at its end, less what it served at the end of the one before."""
    windows = [
        one
        for look in looks
        for one in proto_views.look(look).window
        # Where a busy process did not answer in time, it has no window there, and a longer one at the next look.
        if one.instance_id == server.instance.name
    ]
    assert windows[0] in proto_views.look(looks[0]).window
    served = [cells(series_of(served_at(server, one.read_us).snapshots, terms)) for one in windows]
    # All that the first look finds is of before the rollout, but what says how labels come is recorded all the same.
    history: Cells = Counter({cell: n for cell, n in served[0].items() if cell[0][0] not in FIRST_READ_METRICS})
    total: Cells = Counter()
    for number, (window, before, after) in enumerate(zip(windows, [history, *served], served, strict=False), start=1):
        counted = cells(window.series)
        assert counted == after - before, f"window {number}"
        total += counted
    assert total == served[-1] - history
    assert total.total() > 10_000


def bits(summary: analysis_pb2.Summary) -> bytes:
    return summary.SerializeToString(deterministic=True)


def check_replay(looks: list[analysis_pb2.Analysis], terms: Terms) -> None:
    """One fold over the windows concludes what so many processes have concluded, to every bit of it."""
    state = start(terms)
    for look in looks:
        recorded = proto_views.concluded(look)
        assert recorded.at is not None
        state = fold(state, recorded.look)
        summary = proto_summary.to_proto(decide(state, recorded.at))
        assert bits(summary) == bits(look.summary), f"look {look.sequence}"


@dataclass
class Lives:
    """Evaluators one after the other, each of which is killed.

    Attributes:
        process: lives.
        source: by what it is asked one sees that somebody looks.
        ending: is done when nobody looks any more, since the rollout has ended.
        chance: when it dies.
        start: seconds that it takes until its first look, as measured.
        kills: so far.
    """

    process: EvaluatorProcess
    source: MetricServer
    ending: asyncio.Task[resources_pb2.Rollout]
    chance: random.Random
    start: float = 0.0
    kills: int = 0

    async def looks(self) -> None:
        """Starts one, and waits until it has read what its first look takes."""
        known, begun = len(self.source.answers), time.monotonic()
        await self.process.start()
        await until(lambda: len(self.source.answers) > known or self.ending.done() or self.process.ended, seconds=60)
        self.start = time.monotonic() - begun

    async def one(self) -> None:
        """One that dies while it starts (one of five), at its first look (two of five), or at or between later ones."""
        when, part = self.chance.random(), self.chance.random()
        if when < 0.2:
            await self.process.start()
            await asyncio.sleep(part * self.start)
        else:
            await self.looks()
            await asyncio.sleep(part * (ONE_LOOK if when < 0.6 else SEVERAL_LOOKS))
        assert not self.process.ended
        await self.process.kill()
        self.kills += 1


@pytest.mark.timeout(300)
async def test_a_process_that_is_killed_at_any_moment_loses_and_repeats_nothing(scene: MakeScene) -> None:
    # It is held until it has been killed often enough, in both steps, and over the decisions to go on and to promote.
    made = await scene(quick_terms(1000, 5000, period=60.0, period_end=PeriodEnd.HOLD))
    made.approved = True
    process = EvaluatorProcess(made.registry)
    try:
        await process.start()
        await made.publish(looked_at=True)
        await process.kill()
        ending = asyncio.create_task(made.until(ended, seconds=300))
        lives = Lives(process, made.servers[-1], ending, random.Random(1))
        await lives.looks()
        await process.kill()
        while lives.kills < KILLS or (await made.rollout()).step < 1:
            await lives.one()
        await made.approve()
        while not ending.done():
            await lives.one()
    finally:
        await process.kill()
    rollout, looks = await ending, await made.looks()
    assert rollout.state == resources_pb2.ROLLOUT_STATE_PROMOTED, rollout.outcome.reason
    # Some have died with what they had read in their hands.
    assert len(lives.source.answers) > len(looks)
    assert [look.sequence for look in looks] == list(range(1, len(looks) + 1))
    for server in made.servers:
        check_windows(server, looks, made.terms)
    check_replay(looks, made.terms)
    assert (rollout.outcome.analysis_sequence, bits(rollout.outcome.summary)) == (len(looks), bits(looks[-1].summary))
