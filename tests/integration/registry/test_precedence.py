"""Of a person's action and an Evaluator's of the same moment the person's is carried out, at whichever replica."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from google.protobuf import field_mask_pb2

from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.integration.registry.harness import Registry, Start, new_id, refused

MOMENT = 5.0
"""Seconds: much longer than an action takes on a machine that does other things as well."""

Act = Callable[[Registry, resources_pb2.Rollout, int], Awaitable[resources_pb2.Rollout]]


def _advance(registry: Registry, rollout: resources_pb2.Rollout, look: int) -> Awaitable[resources_pb2.Rollout]:
    return registry.stub.AdvanceRollout(
        service_pb2.AdvanceRolloutRequest(
            name=rollout.name, etag=rollout.etag, analysis_sequence=look, force=True, request_id=new_id()
        )
    )


def _pause(registry: Registry, rollout: resources_pb2.Rollout, look: int) -> Awaitable[resources_pb2.Rollout]:
    return registry.stub.PauseRollout(
        service_pb2.PauseRolloutRequest(
            name=rollout.name, etag=rollout.etag, analysis_sequence=look, request_id=new_id()
        )
    )


def _resume(registry: Registry, rollout: resources_pb2.Rollout, look: int) -> Awaitable[resources_pb2.Rollout]:
    return registry.stub.ResumeRollout(
        service_pb2.ResumeRolloutRequest(
            name=rollout.name, etag=rollout.etag, analysis_sequence=look, request_id=new_id()
        )
    )


def _cancel(registry: Registry, rollout: resources_pb2.Rollout, look: int) -> Awaitable[resources_pb2.Rollout]:
    return registry.stub.CancelRollout(
        service_pb2.CancelRolloutRequest(
            name=rollout.name, etag=rollout.etag, analysis_sequence=look, inconclusive=look > 0, request_id=new_id()
        )
    )


def _promote(registry: Registry, rollout: resources_pb2.Rollout, look: int) -> Awaitable[resources_pb2.Rollout]:
    return registry.promote(rollout, analysis_sequence=look)


def _rollback(registry: Registry, rollout: resources_pb2.Rollout, look: int) -> Awaitable[resources_pb2.Rollout]:
    return registry.rollback(rollout, analysis_sequence=look)


RUNNING = (_advance, _pause, _cancel, _promote, _rollback)
PAUSED = (_resume, _cancel, _promote, _rollback)


async def _prepare(registry: Registry, model: str, *, paused: bool) -> resources_pb2.Rollout:
    rollout = await registry.running(model)
    await registry.look(rollout, 1)
    if not paused:
        return rollout
    drift = service_pb2.PauseRolloutRequest(
        name=rollout.name,
        etag=rollout.etag,
        pause_reason=resources_pb2.PAUSE_REASON_INPUT_DRIFT,
        request_id=new_id(),
    )
    return await registry.stub.PauseRollout(drift)


async def _meet(
    one: Registry, other: Registry, rollout: resources_pb2.Rollout, automatic: Act, manual: Act, turn: asyncio.Semaphore
) -> None:
    # A moment is long for the actions of a few, and not for those of all at once.
    async with turn:
        evaluator = asyncio.create_task(refused(automatic(one, rollout, 1)))
        person = await manual(other, rollout, 0)
    told = await evaluator
    assert (told.code, told.reason) == ("ABORTED", "ETAG_STALE"), (automatic, manual)
    assert told.metadata["etag"] == person.etag


async def test_a_pause_that_rests_on_a_look_is_none_that_only_a_person_ends(registry: Registry) -> None:
    rollout = await registry.running()
    await registry.look(rollout, 1)
    by_person = service_pb2.PauseRolloutRequest(
        name=rollout.name,
        etag=rollout.etag,
        pause_reason=resources_pb2.PAUSE_REASON_PERSON,
        analysis_sequence=1,
        request_id=new_id(),
    )
    told = await refused(registry.stub.PauseRollout(by_person))
    assert (told.code, told.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    paused = await _pause(registry, rollout, 1)
    assert paused.pause_reason == resources_pb2.PAUSE_REASON_INPUT_DRIFT
    assert (await _resume(registry, paused, 1)).state == resources_pb2.ROLLOUT_STATE_RUNNING


async def test_the_persons_action_is_carried_out(start: Start) -> None:
    one, other = [await start(give_way_seconds=MOMENT) for _ in range(2)]
    pairs = [(automatic, manual, False) for automatic in RUNNING for manual in RUNNING]
    pairs += [(automatic, manual, True) for automatic in PAUSED for manual in PAUSED]
    rollouts = [await _prepare(one, f"m{number}", paused=paused) for number, (_, _, paused) in enumerate(pairs)]
    turn = asyncio.Semaphore(3)
    await asyncio.gather(
        *(
            _meet(one, other, rollout, automatic, manual, turn)
            for rollout, (automatic, manual, _) in zip(rollouts, pairs, strict=True)
        )
    )


async def test_what_nobody_meets_is_carried_out_after_its_moment(start: Start) -> None:
    registry = await start(give_way_seconds=0.2)
    rollout = await registry.running()
    await registry.look(rollout, 1)
    assert (await _rollback(registry, rollout, 1)).state == resources_pb2.ROLLOUT_STATE_ROLLED_BACK


async def test_whoever_waits_for_less_than_a_moment_can_roll_back(start: Start) -> None:
    registry = await start(give_way_seconds=MOMENT)
    rollout = await registry.running()
    await registry.look(rollout, 1)
    request = service_pb2.RollbackRolloutRequest(
        name=rollout.name, etag=rollout.etag, analysis_sequence=1, request_id=new_id()
    )
    after = await registry.stub.RollbackRollout(request, timeout=MOMENT / 2)
    assert after.state == resources_pb2.ROLLOUT_STATE_ROLLED_BACK


@pytest.fixture
async def armed(start: Start) -> tuple[Registry, Registry]:
    """Two replicas of a lane that is to be undone on an alert, with v2 stable and a look at it."""
    return await _armed(start, MOMENT)


async def _armed(start: Start, moment: float) -> tuple[Registry, Registry]:
    one, other = [await start(give_way_seconds=moment) for _ in range(2)]
    await one.promote(await one.running())
    await one.stub.SetMonitor(_settings("undo", resources_pb2.MonitorSettings(undo=True)))
    look = resources_pb2.Monitor(model="models/m", version="v2", sequence=1)
    await one.stub.RecordMonitor(service_pb2.RecordMonitorRequest(monitor=look, request_id=new_id()))
    return one, other


def _settings(name: str, settings: resources_pb2.MonitorSettings) -> service_pb2.SetMonitorRequest:
    return service_pb2.SetMonitorRequest(
        model="models/m",
        settings=settings,
        update_mask=field_mask_pb2.FieldMask(paths=[name]),
        request_id=new_id(),
    )


def _undo(registry: Registry, etag: str, look: int) -> Awaitable[resources_pb2.Lane]:
    return registry.stub.UndoLane(
        service_pb2.UndoLaneRequest(
            model="models/m", version="v1", etag=etag, monitor_sequence=look, force=True, request_id=new_id()
        )
    )


@pytest.mark.parametrize("wanted", ["off", "undo"])
async def test_a_monitor_that_somebody_switches_off_undoes_nothing(
    armed: tuple[Registry, Registry], wanted: str
) -> None:
    one, other = armed
    etag = (await one.model()).lanes[0].etag
    evaluator = asyncio.create_task(refused(_undo(one, etag, 1)))
    await other.stub.SetMonitor(_settings(wanted, resources_pb2.MonitorSettings(off=wanted == "off")))
    told = await evaluator
    assert (told.code, told.reason) == ("ABORTED", "MONITOR_DISARMED")
    assert await one.states() == {"v1": "DEPRECATED", "v2": "STABLE"}


async def test_a_person_undoes_before_a_monitor(armed: tuple[Registry, Registry]) -> None:
    one, other = armed
    etag = (await one.model()).lanes[0].etag
    evaluator = asyncio.create_task(refused(_undo(one, etag, 1)))
    assert (await _undo(other, etag, 0)).stable_version == "v1"
    assert (await evaluator).reason == "ETAG_STALE"


async def test_a_monitor_undoes_by_its_latest_look_and_once(start: Start) -> None:
    one, _ = await _armed(start, 0.0)
    etag = (await one.model()).lanes[0].etag
    late = await refused(_undo(one, etag, 2))
    assert (late.code, late.reason) == ("ABORTED", "SEQUENCE_STALE")
    assert (await _undo(one, etag, 1)).stable_version == "v1"
    again = await refused(_undo(one, (await one.model()).lanes[0].etag, 1))
    assert (again.code, again.reason) == ("ABORTED", "MONITOR_DISARMED")
