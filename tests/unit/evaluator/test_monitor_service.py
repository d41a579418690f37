"""Looks at lanes through the ports: what is recorded, when nothing is, and what is undone."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from evaluator.monitor.loop import MonitorLoop
from evaluator.ports import (
    LaneView,
    RefusedError,
    UnreachableError,
)
from evaluator.window.counts import InstanceCounts
from tests.fakes.metrics import Behaviour
from tests.support.wait import until
from tests.unit.evaluator.monitor_scene import LOG, NEW, Scene


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


@pytest.mark.parametrize("seconds", [3_600.0, 315_360_000.0, -86_400.0, -1_699_000_000.0])
async def test_a_clock_that_is_set_is_no_time_in_which_anything_was_learnt(seconds: float) -> None:
    scene = Scene()
    scene.kept.view = replace(NEW, learn=600.0)
    await scene.look(4)
    scene.set_clock(seconds)
    await scene.look(4)
    scene.set_clock(-seconds)
    await scene.look(4)
    assert all("learns what v1 is like" in record.decision.reason for record in scene.kept.records)
    await scene.look(20)
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
    loop = MonitorLoop(scene.kept, scene.monitor, clock=scene.clock, log=LOG, interval=0.01)
    task = asyncio.create_task(loop.run())
    await until(lambda: len(scene.kept.records) == 1)
    for problem in (UnreachableError("away"), ValueError("a defect")):
        scene.kept.problem = problem
        polls = scene.kept.polls
        scene.clock.advance(30.0)
        await until(lambda known=polls: scene.kept.polls > known + 2)  # type: ignore[misc]
        assert len(scene.kept.records) == 1
    for problem in (UnreachableError("away"), ValueError("models/a/b is no model's name")):
        scene.kept.listing = problem
        polls = scene.kept.polls
        await until(lambda known=polls: scene.kept.polls > known + 2)  # type: ignore[misc]
        assert len(scene.kept.records) == 1
        # No look is under way any more that was begun before the lanes could not be read.
        scene.kept.problem = None
    scene.kept.listing = None
    await until(lambda: len(scene.kept.records) > 1)
    assert not task.done()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
