"""Receivers that refuse, hang or are away: asked again, in order, and no hindrance to others."""

import asyncio
import time
from pathlib import Path

import psycopg

from registry.domain.webhooks import REFUSALS
from tests.integration.registry.harness import Registry, Start
from tests.integration.registry.webhook_receiver import Receiver, all_told, listed, pauses, undo, webhooks
from tests.support.wait import until, until_async


async def test_a_dead_receiver_delays_nobody_and_is_told_once_it_lives(
    start: Start, receiver: Receiver, tmp_path: Path
) -> None:
    dead = Receiver()
    dead.close()
    file = webhooks(tmp_path, {"name": "dead", "url": dead.url}, {"name": "living", "url": receiver.url})
    registry = await start(webhooks=file, webhook_poll_seconds=0.05)
    await registry.promote(await registry.running())
    await until(lambda: receiver.got)

    async def tried() -> bool:
        hook = (await listed(registry))["dead"]
        return bool(hook.deliveries and hook.deliveries[0].error)

    await until_async(tried)
    hook = (await listed(registry))["dead"]
    assert (hook.undelivered, hook.deliveries[0].event.type) == (1, "ROLLOUT_PROMOTED")
    assert hook.deliveries[0].error.startswith("no connection: ")
    assert hook.deliveries[0].attempts >= 1
    # Neither the answer nor an error shows the path, which may be a secret.
    assert hook.host == dead.url.removesuffix("/hooks/secret-path")
    assert "secret-path" not in str(hook)


async def test_a_receiver_is_shown_by_its_address_of_ipv6(start: Start, tmp_path: Path) -> None:
    registry = await start(webhooks=webhooks(tmp_path, {"name": "sixth", "url": "http://[2001:db8::1]:9000/hook"}))
    assert (await listed(registry))["sixth"].host == "http://[2001:db8::1]:9000"


async def test_a_receiver_that_refuses_is_asked_again_and_gets_everything(
    start: Start, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.status = 503
    file = webhooks(tmp_path, {"name": "busy", "url": receiver.url})
    registry = await start(webhooks=file, webhook_poll_seconds=0.05, uniform=pauses(0.2))
    await registry.promote(await registry.running())
    await undo(registry)
    await until(lambda: len(receiver.got) >= 2)
    assert (await listed(registry))["busy"].deliveries[0].error == "HTTP 503"
    # One request at a time is tried, not one for each event, and they stay in their order.
    assert {one["type"] for one in receiver.events()} == {"crossfade.rollout.promoted.v1"}
    receiver.begin_anew(200)
    await until_async(lambda: all_told(registry))
    assert [one["type"] for one in receiver.events()] == ["crossfade.rollout.promoted.v1", "crossfade.lane.undone.v1"]


async def test_a_receiver_that_misbehaves_stops_no_other(start: Start, receiver: Receiver, tmp_path: Path) -> None:
    stalling = await asyncio.start_server(_stall, "127.0.0.1", 0)
    port = stalling.sockets[0].getsockname()[1]
    file = webhooks(
        tmp_path, {"name": "bad", "url": f"http://127.0.0.1:{port}/x"}, {"name": "good", "url": receiver.url}
    )
    registry = await start(webhooks=file, webhook_poll_seconds=0.05)
    await registry.promote(await registry.running())
    await until(lambda: receiver.got)
    await undo(registry)
    await until(lambda: len(receiver.got) == 2)

    async def noted() -> bool:
        hook = (await listed(registry))["bad"]
        return bool(hook.deliveries[0].error)

    await until_async(noted, seconds=30)
    hook = (await listed(registry))["bad"]
    assert hook.deliveries[0].error == "HTTP 500"
    # What waits behind it was not tried.
    assert [(one.attempts, one.error) for one in hook.deliveries[1:]] == [(0, "")]
    stalling.close()


async def _stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1000)
    writer.write(b"HTTP/1.1 500 Bad\r\ncontent-length: 100\r\n\r\n")
    await writer.drain()
    await asyncio.sleep(60)


async def test_everything_comes_in_order_after_a_failure(start: Start, receiver: Receiver, tmp_path: Path) -> None:
    receiver.status = 500
    file = webhooks(tmp_path, {"name": "on-call", "url": receiver.url, "events": ["VERSION_PUBLISHED"]})
    registry = await start(webhooks=file, webhook_poll_seconds=0.02, uniform=pauses(0.5))
    await registry.create()
    for _ in range(12):
        await registry.publish(without_rollout=True)
    receiver.begin_anew(200)
    await until_async(lambda: all_told(registry), seconds=20)
    told = [int(one["id"].partition("/")[2]) for one in receiver.events()]
    assert told == sorted(told)


async def test_a_dead_receiver_is_asked_once_in_a_while_and_not_once_for_each_model(
    start: Start, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.status = 503
    entry = {"name": "busy", "url": receiver.url, "events": ["MODEL_CREATED"]}
    registry = await start(webhooks=webhooks(tmp_path, entry), webhook_poll_seconds=0.02, uniform=pauses(0.4))
    # None is due again before all others are.
    receiver.answers.clear()
    for number in range(12):
        await registry.create(f"m{number}")
    await until(lambda: receiver.got)
    began = time.monotonic()
    receiver.answers.set()
    await until(lambda: len(receiver.got) >= 3)
    # The first two pauses are 0.2 s and 0.4 s at least.
    assert time.monotonic() - began > 0.6
    assert len({one["id"] for one in receiver.events()[:3]}) == 3
    assert len((await listed(registry))["busy"].deliveries) == 12
    receiver.begin_anew(204)
    await until_async(lambda: all_told(registry))
    assert len(receiver.got) == 12


async def test_many_receivers_that_say_nothing_delay_no_other(start: Start, receiver: Receiver, tmp_path: Path) -> None:
    """More of them than asyncio's own executor has threads on any machine."""
    over = asyncio.Event()

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as silent:
        url = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}/x"
        entries = [{"name": f"silent-{number}", "url": url} for number in range(33)]
        file = webhooks(tmp_path, *entries, {"name": "z", "url": receiver.url})
        registry = await start(webhooks=file, webhook_poll_seconds=0.1)
        rollout = await registry.running()
        await registry.promote(rollout)
        await undo(registry)
        # Sooner than one that says nothing is given up.
        await until(lambda: len(receiver.got) == 2, seconds=8)
        over.set()


async def test_an_event_that_is_refused_holds_up_no_other_model(
    start: Start, receiver: Receiver, tmp_path: Path
) -> None:
    file = webhooks(tmp_path, {"name": "on-call", "url": receiver.url})
    registry = await start(webhooks=file, webhook_poll_seconds=0.05)
    rollouts = [await registry.running(model) for model in ("m", "n")]
    refused = f"m/{len(await registry.events()) + 1}"
    receiver.refuses = {refused}
    for rollout in rollouts:
        await registry.promote(rollout)
    await until(lambda: {one["data"]["model"] for one in receiver.events()} == {"m", "n"})
    await until_async(lambda: _left(registry, 1))
    (left,) = (await listed(registry))["on-call"].deliveries
    assert (f"{left.event.model}/{left.event.sequence}", left.error) == (refused, "HTTP 400")


async def test_an_event_that_is_refused_for_good_holds_up_its_model_no_longer_and_is_tried_apart(
    start: Start, receiver: Receiver, tmp_path: Path
) -> None:
    file = webhooks(tmp_path, {"name": "on-call", "url": receiver.url})
    registry = await start(webhooks=file, webhook_poll_seconds=0.02, uniform=pauses(0.02))
    rollout = await registry.running()
    refused = f"m/{len(await registry.events()) + 1}"
    receiver.refuses = {refused}
    await registry.promote(rollout)
    await undo(registry)
    await until(lambda: "crossfade.lane.undone.v1" in {one["type"] for one in receiver.events()})
    told = [one["id"] for one in receiver.events()]
    assert told[:REFUSALS] == [refused] * REFUSALS
    # It is shown, and tried again.
    await until_async(lambda: _left(registry, 1))
    (left,) = (await listed(registry))["on-call"].deliveries
    assert (left.event.sequence, left.error) == (int(refused.partition("/")[2]), "HTTP 400")
    receiver.refuses = set()
    await until_async(lambda: all_told(registry))
    assert receiver.events()[-1]["id"] == refused


async def _left(registry: Registry, number: int) -> bool:
    return sum(one.undelivered for one in (await listed(registry)).values()) == number


async def test_an_event_that_cannot_be_sent_holds_up_no_other_model(
    start: Start,
    receiver: Receiver,
    tmp_path: Path,
    shared_database: psycopg.Connection[tuple[object, ...]],
) -> None:
    file = webhooks(tmp_path, {"name": "on-call", "url": receiver.url})
    registry = await start(webhooks=file, webhook_poll_seconds=0.05, uniform=pauses(0.1))
    await registry.create("broken")
    shared_database.execute(
        "INSERT INTO outbox (model, sequence, webhook, event, created, attempts, due, error) "
        "VALUES ('broken', 1, 'on-call', '\\xff', now(), 0, now() - interval '1 h', '')"
    )
    await registry.promote(await registry.running())
    await until(lambda: receiver.got)
    left = "SELECT model, attempts > 0, error FROM outbox"
    broken = ("broken", True, "it could not be sent (DecodeError)")
    await until(lambda: shared_database.execute(left).fetchall() == [broken])
