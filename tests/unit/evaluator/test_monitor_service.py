"""Looks at lanes through the ports: what is recorded, when nothing is, and what is undone."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from evaluator.monitor.loop import MonitorLoop
from evaluator.monitor.service import Monitor
from evaluator.ports import (
    LaneView,
    MonitorRecord,
    MonitorView,
    ProcessView,
    RefusedError,
    SupersededError,
    UnreachableError,
    VersionView,
)
from evaluator.terms import Terms
from evaluator.window.counts import InstanceCounts
from evaluator.window.readings import Reading
from services.common.policy.records import Meaning
from services.common.telemetry.logs import make_log
from tests.fakes.clock import ManualClock
from tests.fakes.inputs import reference
from tests.fakes.metrics import CLASSES, Behaviour, Fleet
from tests.fakes.rollouts import demo_terms
from tests.support.wait import until

LOG = make_log("evaluator", "critical")
NEW = MonitorView(False, False, 300.0, "", 0, 0.0, b"", ())


@dataclass
class Kept:
    """A Registry in memory, by the port."""

    clock: ManualClock
    lane: LaneView = field(default_factory=lambda: LaneView(1, 300.0, "v1", previous="v0", etag="e"))
    view: MonitorView = NEW
    records: list[MonitorRecord] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)
    refusal: Exception | None = None
    skew: float = 0.0
    problem: Exception | None = None
    """Of whoever looks at a lane."""
    listing: Exception | None = None
    """Of whoever asks for all lanes."""
    polls: int = 0

    async def lanes(self) -> Sequence[tuple[str, LaneView]]:
        self.polls += 1
        if self.listing is not None:
            raise self.listing
        return [("digits", self.lane)]

    async def version(self, model: str, version: str) -> VersionView:
        del model, version
        if self.problem is not None:
            raise self.problem
        return VersionView(Meaning("classification", CLASSES), reference("p1", 2))

    async def processes(self) -> Sequence[ProcessView]:
        return []

    async def monitor(self, model: str, segment: str) -> MonitorView:
        del model, segment
        return self.view

    async def record_monitor(self, model: str, segment: str, record: MonitorRecord) -> None:
        del model, segment
        if record.sequence != self.view.sequence + 1:
            raise SupersededError("taken")
        self.records.append(record)
        self.view = replace(
            self.view,
            version=record.version,
            sequence=record.sequence,
            record_time=self.clock.now() + self.skew,
            evidence=record.evidence,
            cursor=record.cursor,
        )

    async def undo(self, model: str, lane: LaneView, sequence: int, reason: str) -> None:
        if self.refusal is not None:
            raise self.refusal
        assert sequence == self.view.sequence
        self.undone.append(f"{model} {lane.previous}: {reason}")


@dataclass
class Source:
    """A fleet's counts."""

    fleet: Fleet
    away: set[str] = field(default_factory=set)

    def age(self, terms: Terms) -> float:
        del terms
        return 0.0

    async def read(self, processes: Sequence[ProcessView], terms: Terms, timeout: float) -> Sequence[Reading]:
        del processes, timeout
        found = [one.read(self.fleet.now, terms) for one in self.fleet.instances]
        away = {one.instance_id: replace(one, series=None, error="it did not answer") for one in found}
        return [away[one.instance_id] if one.instance_id in self.away else one for one in found]


@dataclass
class Scene:
    """A lane, its traffic and its monitor."""

    clock: ManualClock = field(default_factory=ManualClock)
    fleet: Fleet = field(init=False)
    kept: Kept = field(init=False)
    source: Source = field(init=False)
    monitor: Monitor = field(init=False)

    def __post_init__(self) -> None:
        self.fleet = Fleet(demo_terms(), np.random.default_rng(5), rate=40.0)
        self.fleet.now = self.clock.now()
        self.kept = Kept(self.clock)
        self.source = Source(self.fleet)
        self.monitor = Monitor(self.kept, self.source, clock=self.clock, log=LOG, interval=30.0, scrape_seconds=2.0)

    async def look(self, times: int = 1, seconds: float = 30.0) -> None:
        for _ in range(times):
            self.clock.advance(seconds)
            self.fleet.run(seconds)
            await self.monitor.look("digits", self.kept.lane)


async def test_an_alert_undoes_a_lane_that_asks_for_it_and_no_other() -> None:
    for undo in (False, True):
        scene = Scene()
        scene.kept.view = replace(NEW, undo=undo)
        await scene.look(30)
        scene.fleet.stable = Behaviour(errors=0.1)
        await scene.look(5)
        assert [gate for gate, _ in scene.kept.records[-1].alerts] == ["errors"]
        assert bool(scene.kept.undone) is undo
    assert scene.kept.undone[0].startswith("digits v0: v1 failed ")


async def test_larger_batches_undo_nothing() -> None:
    scene = Scene()
    scene.kept.view = replace(NEW, undo=True)
    scene.fleet.batch, scene.fleet.stable = 1, Behaviour(seconds=0.001, row_seconds=0.00025)
    await scene.look(40)
    assert [one.gate for one in scene.kept.records[-1].decision.gates][1] == "runtime"
    scene.fleet.batch = 8
    await scene.look(40)
    assert scene.kept.undone == []


async def test_drifted_inputs_undo_nothing() -> None:
    scene = Scene()
    scene.kept.view = replace(NEW, undo=True)
    scene.fleet.shift = 0.5
    await scene.look(30)
    assert [gate for gate, _ in scene.kept.records[-1].alerts] == ["inputs"]
    assert scene.kept.undone == []


async def test_an_undo_that_was_refused_is_asked_for_again() -> None:
    scene = Scene()
    scene.kept.view = replace(NEW, undo=True)
    await scene.look(30)
    scene.fleet.stable = Behaviour(errors=0.1)
    scene.kept.refusal = RefusedError("too few Workers have v0 ready")
    await scene.look(5)
    assert scene.kept.undone == []
    scene.kept.refusal = None
    await scene.look()
    assert len(scene.kept.undone) == 1


async def test_another_version_begins_anew() -> None:
    scene = Scene()
    await scene.look(30)
    assert scene.kept.records[-1].decision.gates
    scene.kept.lane = replace(scene.kept.lane, stable="v2")
    await scene.look(2)
    assert scene.kept.records[-1].version == "v2"
    assert scene.kept.records[-1].decision.reason.startswith("learns what v2 is like")


async def test_another_version_begins_with_the_names_of_the_processes_that_are_there() -> None:
    scene = Scene()
    await scene.look(3)
    gone = tuple(InstanceCounts.forget(f"worker-{number}", 1) for number in range(2, 9))
    scene.kept.view = replace(scene.kept.view, cursor=(*scene.kept.view.cursor, *gone))
    await scene.look(1)
    assert len(scene.kept.view.cursor) == 9
    scene.kept.lane, scene.source.away = replace(scene.kept.lane, stable="v2"), {"worker-1"}
    await scene.look(1)
    assert [(one.instance_id, one.forgotten) for one in scene.kept.view.cursor] == [
        ("router-1", False),
        ("worker-1", True),
    ]


async def test_after_a_gap_what_was_counted_in_it_is_left_out() -> None:
    scene = Scene()
    await scene.look(30)
    scene.fleet.stable = Behaviour(errors=0.5)
    await scene.look(1, seconds=3600.0)
    scene.fleet.stable = Behaviour()
    await scene.look(20)
    assert all(record.alerts == () for record in scene.kept.records)
    assert len(scene.kept.records) == 51


async def test_of_a_process_that_is_not_read_after_a_gap_nothing_of_the_gap_counts_later() -> None:
    scene = Scene()
    await scene.look(30)
    scene.fleet.stable = Behaviour(errors=0.5)
    scene.source.away = {"router-1"}
    await scene.look(1, seconds=3600.0)
    scene.fleet.stable, scene.source.away = Behaviour(), set()
    assert "what was counted in a gap of" in scene.kept.records[-1].decision.reason
    assert "router-1 was not read (it did not answer)" in scene.kept.records[-1].decision.reason
    await scene.look(20)
    assert all(record.alerts == () for record in scene.kept.records)


@pytest.mark.parametrize("skew", [-600.0, 600.0])
async def test_the_registrys_clock_may_differ(skew: float) -> None:
    scene = Scene()
    scene.kept.skew = skew
    await scene.look(30)
    scene.fleet.stable = Behaviour(errors=0.1)
    await scene.look(5)
    assert [gate for gate, _ in scene.kept.records[-1].alerts] == ["errors"]


async def test_after_a_clock_that_was_ahead_a_lane_is_watched_all_the_same() -> None:
    scene = Scene()
    await scene.look(30)
    cursor = tuple(replace(one, read_us=one.read_us + 86_400_000_000) for one in scene.kept.view.cursor)
    scene.kept.view = replace(scene.kept.view, cursor=cursor)
    scene.fleet.stable = Behaviour(errors=0.1)
    await scene.look(6)
    assert [gate for gate, _ in scene.kept.records[-1].alerts] == ["errors"]


async def test_while_inputs_are_drifted_only_errors_and_runtimes_undo() -> None:
    scene = Scene()
    scene.kept.view = replace(NEW, undo=True)
    await scene.look(30)
    scene.fleet.shift = 0.5
    await scene.look(20)
    assert scene.kept.undone == []
    scene.fleet.stable = Behaviour(errors=0.1)
    await scene.look(5)
    assert scene.kept.undone[0].startswith("digits v0: v1 failed ")


@pytest.mark.parametrize(
    "lane",
    [LaneView(1, 300.0, ""), LaneView(1, 300.0, "v1", rollout="models/digits/rollouts/1")],
    ids=["without a stable version", "with a rollout"],
)
async def test_some_lanes_are_not_looked_at(lane: LaneView) -> None:
    scene = Scene()
    scene.kept.lane = lane
    await scene.look(3)
    assert scene.kept.records == []


async def test_nothing_is_recorded_of_a_lane_that_is_not_to_be_watched_or_before_its_time() -> None:
    scene = Scene()
    scene.kept.view = replace(NEW, off=True)
    await scene.look(3)
    assert scene.kept.records == []
    scene.kept.view = NEW
    await scene.look(6, seconds=10.0)
    assert len(scene.kept.records) == 2


async def test_the_loop_goes_on_whatever_a_look_meets() -> None:
    scene = Scene()
    loop = MonitorLoop(scene.kept, scene.monitor, log=LOG, interval=0.01)
    task = asyncio.create_task(loop.run())
    await until(lambda: len(scene.kept.records) == 1)
    for problem in (UnreachableError("away"), ValueError("a defect")):
        scene.kept.problem = problem
        polls = scene.kept.polls
        scene.clock.advance(30.0)
        await until(lambda known=polls: scene.kept.polls > known + 2)  # type: ignore[misc]
        assert len(scene.kept.records) == 1
    scene.kept.problem = None
    for problem in (UnreachableError("away"), ValueError("models/a/b is no model's name")):
        scene.kept.listing = problem
        polls = scene.kept.polls
        await until(lambda known=polls: scene.kept.polls > known + 2)  # type: ignore[misc]
        assert len(scene.kept.records) == 1
    scene.kept.listing = None
    await until(lambda: len(scene.kept.records) > 1)
    assert not task.done()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
