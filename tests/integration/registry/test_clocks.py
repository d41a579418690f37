"""Replicas on machines whose clocks are minutes apart: all write the database's time."""

import time
from pathlib import Path

import pytest
from google.protobuf import duration_pb2

from crossfade.ledger import verify
from crossfade.registry.v1 import service_pb2
from services.common.clock import SystemClock
from tests.fakes.clock import ManualClock
from tests.integration.registry.harness import Registry, Start, new_id, refused
from tests.integration.registry.test_history import model_at
from tests.integration.registry.test_retention import DAY, describe, forget
from tests.integration.registry.webhook_receiver import Receiver, all_told, webhooks
from tests.support.wait import until_async

MINUTES = 600.0


class Apart(SystemClock):
    """A machine's clock that is wrong."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def now(self) -> float:
        return time.time() + self._seconds


async def replicas(start: Start) -> tuple[Registry, Registry]:
    """One behind and one ahead."""
    return await start(machine=Apart(-MINUTES)), await start(machine=Apart(MINUTES))


async def test_events_have_the_time_at_which_they_were(start: Start) -> None:
    behind, ahead = await replicas(start)
    before = time.time()
    rollout = await behind.running()
    await ahead.rollback(rollout)
    times = [event.time.ToMicroseconds() / 1e6 for event in await ahead.events()]
    assert times == sorted(times)
    assert before - 1.0 < times[0] <= times[-1] < time.time() + 1.0


async def test_a_version_that_is_loaded_for_a_while_is_held_as_long(start: Start) -> None:
    behind, ahead = await replicas(start)
    await behind.running()
    await behind.publish(without_rollout=True)

    async def load(registry: Registry, seconds: int) -> None:
        request = service_pb2.LoadVersionRequest(
            name="models/m/versions/v3",
            ttl=duration_pb2.Duration(seconds=seconds),
            etag=(await registry.model()).lanes[0].etag,
            request_id=new_id(),
        )
        await registry.stub.LoadVersion(request)

    async def unloaded() -> bool:
        return any(event.type == "VERSION_UNLOADED" for event in await behind.events())

    for registry in (behind, ahead):
        await load(registry, 240)
        for replica in (behind, ahead):
            await replica.app.upkeep.once()
        assert not await unloaded()
    await load(ahead, 1)
    await until_async(unloaded)


async def test_what_was_loaded_while_the_clock_was_years_ahead_is_held_for_a_week(start: Start) -> None:
    clock = ManualClock()
    registry = await start(clock, sweep_seconds=60.0)
    await registry.running()
    await registry.publish(without_rollout=True)
    clock.set(315_360_000.0)
    await registry.stub.LoadVersion(
        service_pb2.LoadVersionRequest(
            name="models/m/versions/v3", etag=(await registry.model()).lanes[0].etag, request_id=new_id()
        )
    )
    clock.set(-315_360_000.0)
    for _ in range(2):
        await registry.app.upkeep.once()
        (loaded,) = (await registry.model()).lanes[0].loaded
        assert loaded.expire_time.seconds == int(clock.now()) + 7 * 86_400


async def test_a_pause_lasts_as_long_as_it_lasted(start: Start) -> None:
    behind, ahead = await replicas(start)
    for first, second in ((behind, ahead), (ahead, behind)):
        model = "m" if first is behind else "n"
        rollout = await behind.running(model)
        began = time.time()
        paused = await first.stub.PauseRollout(
            service_pb2.PauseRolloutRequest(name=rollout.name, etag=rollout.etag, request_id=new_id())
        )
        resumed = await second.stub.ResumeRollout(
            service_pb2.ResumeRolloutRequest(name=rollout.name, etag=paused.etag, request_id=new_id())
        )
        lasted = resumed.step_paused.ToMicroseconds() / 1e6
        assert 0.0 <= lasted <= time.time() - began + 0.1


@pytest.mark.parametrize("wrong", [-MINUTES, MINUTES])
async def test_a_webhook_is_told_at_once_and_the_time_at_which_it_was(
    start: Start, receiver: Receiver, tmp_path: Path, wrong: float
) -> None:
    file = webhooks(tmp_path, {"name": "on-call", "url": receiver.url})
    registry = await start(machine=Apart(wrong), webhooks=file, webhook_poll_seconds=0.05)
    before = time.time()
    await registry.rollback(await registry.running())
    await until_async(lambda: all_told(registry))
    ((headers, _),) = receiver.got
    assert before - 1.0 < int(headers["webhook-timestamp"]) < time.time() + 1.0


async def test_what_has_not_come_yet_is_no_history(start: Start) -> None:
    behind, ahead = await replicas(start)
    await behind.create()
    now = time.time()
    for registry in (behind, ahead):
        # A caller's own clock may be some minutes ahead.
        assert (await model_at(registry, now + MINUTES / 3)).name == "models/m"
        early = await refused(model_at(registry, now + MINUTES))
        said = "that moment has not come yet; without one you see the present"
        assert (early.reason, early.message) == ("HISTORY_UNKNOWN", said)


async def test_what_was_written_while_the_clock_was_years_ahead_keeps_nothing_before_it(start: Start) -> None:
    clock = ManualClock()
    registry = await start(clock, event_days=30.0)
    await registry.create()
    await describe(registry, 60)
    clock.set(3650 * DAY)
    await describe(registry, 2)
    clock.set(-3650 * DAY)
    await describe(registry, 57)
    clock.advance(40 * DAY)
    clock.set(3650 * DAY)
    await describe(registry, 1)
    clock.set(-3650 * DAY)
    await forget(registry)
    # What follows nothing that is old was written since.
    assert (await registry.model()).compacted_sequence == 120
    events = await registry.events()
    assert [one.type for one in events] == ["MODEL_UPDATED", "EVENTS_COMPACTED"]
    verify(await registry.model(), reversed(events))
