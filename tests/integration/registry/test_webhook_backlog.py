"""What a person does about deliveries that wait: they are tried at once, or forgotten."""

import time
from pathlib import Path

import psycopg

from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.integration.registry.harness import Registry, Start, refused
from tests.integration.registry.webhook_receiver import Receiver, all_told, listed, undo, webhooks
from tests.support.wait import until, until_async

Connection = psycopg.Connection[tuple[object, ...]]
HOUR = 3600.0


def longest(_low: float, high: float) -> float:
    """Draws pauses of an hour and more."""
    return HOUR + high


async def retry(registry: Registry, name: str = "on-call") -> resources_pb2.Webhook:
    return await registry.stub.RetryWebhook(service_pb2.RetryWebhookRequest(name=name))


async def drop(registry: Registry, **only: object) -> service_pb2.DropDeliveriesResponse:
    values = {"webhook": "on-call", **only}
    request = service_pb2.DropDeliveriesRequest(**values)  # type: ignore[arg-type]  # by name
    return await registry.stub.DropDeliveries(request)


async def pausing(start: Start, receiver: Receiver, folder: Path, status: int) -> Registry:
    """A Registry that has met a receiver's error and pauses for an hour."""
    receiver.status = status
    file = webhooks(folder, {"name": "on-call", "url": receiver.url})
    registry = await start(webhooks=file, webhook_poll_seconds=0.02, uniform=longest)
    await registry.promote(await registry.running())

    async def noted() -> bool:
        hook = (await listed(registry))["on-call"]
        return bool(hook.deliveries and hook.deliveries[0].error)

    await until_async(noted)
    return registry


def left(hook: resources_pb2.Webhook) -> float:
    """Seconds until the first delivery is tried."""
    return hook.deliveries[0].next_time.ToNanoseconds() / 1e9 - time.time()


async def test_a_receiver_that_is_well_again_need_not_wait_for_the_end_of_its_pause(
    start: Start, receiver: Receiver, tmp_path: Path, shared_database: Connection
) -> None:
    registry = await pausing(start, receiver, tmp_path, 503)
    assert left((await listed(registry))["on-call"]) > HOUR / 2
    receiver.begin_anew(200)
    hook = await retry(registry)
    assert (hook.undelivered, hook.deliveries[0].attempts) == (1, 1)
    # No more than somebody's turn may take, which cannot be told from a pause.
    assert 0 < left(hook) < 31
    shared_database.execute("UPDATE receivers SET due = now()")
    await until_async(lambda: all_told(registry))
    assert [one["type"] for one in receiver.events()] == ["crossfade.rollout.promoted.v1"]


async def test_an_event_that_was_refused_is_tried_again_too(start: Start, receiver: Receiver, tmp_path: Path) -> None:
    registry = await pausing(start, receiver, tmp_path, 400)
    await undo(registry)
    receiver.begin_anew(200)
    await retry(registry)
    # The webhook had no pause, but the event had, and behind it what its model is to be told of next.
    await until_async(lambda: all_told(registry))
    assert [one["type"] for one in receiver.events()] == ["crossfade.rollout.promoted.v1", "crossfade.lane.undone.v1"]


async def test_an_event_that_was_set_aside_is_tried_again_too(
    start: Start, receiver: Receiver, tmp_path: Path, shared_database: Connection
) -> None:
    registry = await pausing(start, receiver, tmp_path, 400)
    shared_database.execute("UPDATE outbox SET refused = 5, attempts = 5")
    receiver.begin_anew(200)
    await retry(registry)
    await until_async(lambda: all_told(registry))
    assert [one["type"] for one in receiver.events()] == ["crossfade.rollout.promoted.v1"]


async def test_a_request_that_is_under_way_keeps_its_turn(
    start: Start, receiver: Receiver, tmp_path: Path, shared_database: Connection
) -> None:
    receiver.answers.clear()
    file = webhooks(tmp_path, {"name": "on-call", "url": receiver.url})
    registry = await start(webhooks=file, webhook_poll_seconds=0.02)
    await registry.promote(await registry.running())
    await until(lambda: receiver.got)
    before = shared_database.execute("SELECT due FROM receivers").fetchall()
    await retry(registry)
    assert shared_database.execute("SELECT due FROM receivers").fetchall() == before
    receiver.answers.set()
    await until_async(lambda: all_told(registry))
    assert len(receiver.got) == 1


async def test_what_waits_is_forgotten_by_model_by_age_or_all_of_it(
    start: Start, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.status = 503
    entry = {"name": "on-call", "url": receiver.url, "events": ["MODEL_CREATED"]}
    other = {"name": "chat", "url": receiver.url, "events": ["MODEL_CREATED"]}
    registry = await start(webhooks=webhooks(tmp_path, entry, other), webhook_poll_seconds=0.02, uniform=longest)
    for model in ("a", "b", "c", "d"):
        await registry.create(model)
    assert await drop(registry, model="models/c") == service_pb2.DropDeliveriesResponse(dropped=1)
    (created,) = await registry.events("b")
    assert (await drop(registry, before=created.time)).dropped == 1
    assert {one.event.model for one in (await listed(registry))["on-call"].deliveries} == {"b", "d"}
    assert (await drop(registry)).dropped == 2
    assert {name: hook.undelivered for name, hook in (await listed(registry)).items()} == {"on-call": 0, "chat": 4}
    assert (await drop(registry)).dropped == 0
    # The audit log has it still.
    assert [event.type for event in await registry.events("c")] == ["MODEL_CREATED"]


async def test_a_large_backlog_is_forgotten_in_several_answers(
    start: Start, receiver: Receiver, tmp_path: Path, shared_database: Connection
) -> None:
    registry = await pausing(start, receiver, tmp_path, 503)
    shared_database.execute(
        """
        INSERT INTO outbox (model, sequence, webhook, event, created, attempts, due, error, refused)
        SELECT model, 1000 + n, webhook, event, created, 0, due, '', 0
        FROM outbox, generate_series(1, 10500) AS n WHERE sequence < 1000
        """
    )
    first, second = await drop(registry), await drop(registry)
    assert [(one.dropped, one.more) for one in (first, second)] == [(10_000, True), (501, False)]


async def test_a_webhook_that_the_settings_name_no_more_is_forgotten_and_not_tried(
    start: Start, receiver: Receiver, tmp_path: Path
) -> None:
    await pausing(start, receiver, tmp_path, 503)
    registry = await start(webhooks=webhooks(tmp_path, {"name": "chat", "url": receiver.url}))
    said = await refused(retry(registry))
    assert (said.code, said.reason) == ("NOT_FOUND", "WEBHOOK_NOT_FOUND")
    assert said.message.endswith("there is no webhook on-call; the settings name: chat")
    assert (await drop(registry)).dropped == 1
    said = await refused(drop(registry))
    assert (said.reason, said.message.endswith("there is no webhook on-call; there are: chat")) == (
        "WEBHOOK_NOT_FOUND",
        True,
    )
    assert (await refused(drop(registry, webhook="no name"))).field == "webhook"
    assert (await refused(drop(registry, model="m"))).field == "model"
