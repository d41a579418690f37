"""Others are told of outcomes: signed, in their form, once, and of what they ask for."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from pathlib import Path

from sqlalchemy import insert, update

from crossfade.registry.v1 import resources_pb2, service_pb2
from registry.database.engine import open_engine, parse_url
from registry.database.tables import outbox, receivers
from services.common.telemetry import operations
from tests.integration.registry.harness import Registry, Start, new_id, plan
from tests.integration.registry.test_monitors import ERRORS, look
from tests.integration.registry.webhook_receiver import Receiver, all_told, listed, webhooks
from tests.support.wait import until, until_async
from tests.support.worker import metrics

SECRET = b"a secret of more than sixteen bytes"


def secret(folder: Path) -> str:
    """The file of a secret."""
    file = folder / "secret"
    file.write_bytes(SECRET + b"\n")
    return str(file)


async def test_an_outcome_is_told_as_a_signed_cloud_event(start: Start, receiver: Receiver, tmp_path: Path) -> None:
    file = webhooks(tmp_path, {"name": "on-call", "url": receiver.url, "secret_file": secret(tmp_path)})
    registry = await start(webhooks=file, webhook_poll_seconds=0.05)
    rollout = await registry.running()
    reason = "v2 failed 9 % of its calls <v1: 0 %>"
    await registry.rollback(rollout, outcome=resources_pb2.Outcome(reason=reason, code="VIOLATION", gate="errors"))
    await until(lambda: receiver.got)
    headers, body = receiver.got[0]
    event = json.loads(body)
    written = (await registry.events())[-1]
    assert headers["content-type"].startswith("application/cloudevents+json")
    assert {key: event[key] for key in ("specversion", "id", "source", "type", "subject")} == {
        "specversion": "1.0",
        "id": f"m/{written.sequence}",
        "source": "/crossfade/models/m",
        "type": "crossfade.rollout.rolled_back.v1",
        "subject": rollout.name,
    }
    assert (event["data"]["reason"], event["data"]["outcome"]["gate"]) == (reason, "errors")
    assert event["data"]["hash"] == written.hash
    signed = b".".join((headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body))
    expected = base64.b64encode(hmac.digest(SECRET, signed, hashlib.sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    await until_async(lambda: all_told(registry))
    # What nobody asked to be told of was not: publications, starts, readiness.
    assert len(receiver.got) == 1


async def test_what_stands_out_in_a_lane_without_a_rollout_is_told_and_so_is_its_end(
    start: Start, receiver: Receiver, tmp_path: Path
) -> None:
    file = webhooks(tmp_path, {"name": "on-call", "url": receiver.url})
    registry = await start(webhooks=file, webhook_poll_seconds=0.05)
    await registry.create()
    await registry.publish()
    await look(registry, 1)
    await look(registry, 2, ERRORS)
    # It is there still, and nobody is told again.
    await look(registry, 3, ERRORS)
    await look(registry, 4)
    await until_async(lambda: all_told(registry))
    assert [(one["type"], one["data"]["version"], one["data"]["reason"]) for one in receiver.events()] == [
        ("crossfade.alert.raised.v1", "v1", ERRORS.reason),
        ("crossfade.alert.ended.v1", "v1", f"It has ended: {ERRORS.reason}"),
    ]
    raised = (await registry.events())[-2]
    assert receiver.events()[0]["data"]["hash"] == raised.hash


async def test_of_all_that_one_operation_does_each_is_told(start: Start, receiver: Receiver, tmp_path: Path) -> None:
    file = webhooks(tmp_path, {"name": "on-call", "url": receiver.url})
    registry = await start(webhooks=file, webhook_poll_seconds=0.05)
    await registry.promote(await registry.running())
    await registry.publish(rollout=plan(500))
    etag = (await registry.model()).lanes[0].etag
    request = service_pb2.UndoLaneRequest(
        model="models/m", etag=etag, cancel_rollout=True, force=True, request_id=new_id()
    )
    await registry.stub.UndoLane(request)
    await until_async(lambda: all_told(registry))
    cancelled, _, undone = (await registry.events())[-3:]
    assert [(one["data"]["type"], one["data"]["hash"]) for one in receiver.events()[1:]] == [
        ("ROLLOUT_CANCELLED", cancelled.hash),
        ("LANE_UNDONE", undone.hash),
    ]


async def test_slack_gets_a_line(start: Start, receiver: Receiver, tmp_path: Path) -> None:
    file = webhooks(tmp_path, {"name": "chat", "url": receiver.url, "form": "slack"})
    registry = await start(webhooks=file, webhook_poll_seconds=0.05)
    rollout = await registry.running()
    await registry.rollback(rollout, outcome=resources_pb2.Outcome(reason="9 % failed <v1: 0 %>"))
    await until(lambda: receiver.got)
    headers, body = receiver.got[0]
    assert json.loads(body) == {"text": ":x: *m* v2 was rolled back (rollout 1): 9 % failed &lt;v1: 0 %&gt;"}
    assert "webhook-signature" not in headers


async def test_only_what_is_asked_for(start: Start, receiver: Receiver, tmp_path: Path) -> None:
    file = webhooks(
        tmp_path,
        {"name": "some", "url": receiver.url, "models": ["n"], "events": ["VERSION_PUBLISHED", "ROLLOUT_PROMOTED"]},
    )
    registry = await start(webhooks=file, webhook_poll_seconds=0.05)
    for model in ("m", "n"):
        await registry.promote(await registry.running(model))
    await until(lambda: len(receiver.got) == 3)
    assert [(one["data"]["model"], one["data"]["type"]) for one in receiver.events()] == [
        ("n", "VERSION_PUBLISHED"),
        ("n", "VERSION_PUBLISHED"),
        ("n", "ROLLOUT_PROMOTED"),
    ]


async def test_what_was_written_is_told_by_another_replica(start: Start, receiver: Receiver, tmp_path: Path) -> None:
    file = webhooks(tmp_path, {"name": "on-call", "url": receiver.url})
    receiver.status = 500
    first = await start(webhooks=file, webhook_poll_seconds=0.05)
    await first.promote(await first.running())
    await until(lambda: receiver.got)
    await first.app.stop()
    receiver.status = 200
    # Its next attempt is due in some seconds.
    await start(webhooks=file, webhook_poll_seconds=0.05)
    await until(lambda: len(receiver.got) >= 2, seconds=20)
    assert receiver.events()[-1]["type"] == "crossfade.rollout.promoted.v1"


async def asking(start: Start, receiver: Receiver, file: Path) -> Registry:
    """A replica that has told of a promotion, and has no answer."""
    receiver.answers.clear()
    registry = await start(webhooks=file, webhook_poll_seconds=0.05)
    await registry.promote(await registry.running())
    await until(lambda: receiver.got)
    return registry


async def test_a_replica_that_stops_hears_what_it_has_asked(start: Start, receiver: Receiver, tmp_path: Path) -> None:
    file = webhooks(tmp_path, {"name": "on-call", "url": receiver.url})
    first = await asking(start, receiver, file)
    stopping = asyncio.create_task(first.app.stop())
    await until(first.app._courier._closing.is_set)
    receiver.answers.set()
    await stopping
    second = await start(webhooks=file, webhook_poll_seconds=0.05)
    assert await all_told(second)
    assert len(receiver.got) == 1


async def test_a_replica_that_stops_leaves_its_turn_to_others(start: Start, receiver: Receiver, tmp_path: Path) -> None:
    file = webhooks(tmp_path, {"name": "on-call", "url": receiver.url})
    first = await asking(start, receiver, file)
    # It is not answered, and not noted as one that has failed.
    await first.app.stop()
    receiver.answers.set()
    second = await start(webhooks=file, webhook_poll_seconds=0.05)
    # A turn that nobody gives back ends after 30 s.
    await until_async(lambda: all_told(second), seconds=10)
    assert [one["type"] for one in receiver.events()] == ["crossfade.rollout.promoted.v1"] * 2


async def test_two_replicas_tell_each_event_once(start: Start, receiver: Receiver, tmp_path: Path) -> None:
    file = webhooks(tmp_path, {"name": "on-call", "url": receiver.url, "events": ["VERSION_PUBLISHED"]})
    replicas = [await start(webhooks=file, webhook_poll_seconds=0.02) for _ in range(2)]
    await replicas[0].create()
    await asyncio.gather(*(replicas[number % 2].publish(without_rollout=True) for number in range(20)))
    await until_async(lambda: all_told(replicas[0]))
    assert sorted(int(one["id"].partition("/")[2]) for one in receiver.events()) == list(range(2, 22))


async def test_a_webhook_that_is_named_no_more_is_shown_as_such(
    start: Start, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.status = 500
    file = webhooks(tmp_path, {"name": "gone", "url": receiver.url})
    registry = await start(webhooks=file, webhook_poll_seconds=0.05)
    await registry.promote(await registry.running())
    await until(lambda: receiver.got)
    other = await start()
    hook = (await listed(other))["gone"]
    assert (hook.host, hook.undelivered) == ("", 1)


async def test_what_is_not_delivered_is_a_gauge(start: Start, receiver: Receiver, tmp_path: Path) -> None:
    receiver.status = 503
    file = webhooks(
        tmp_path,
        {"name": "on-call", "url": receiver.url, "secret_file": secret(tmp_path)},
        {"name": "other", "url": receiver.url, "secret_file": secret(tmp_path), "models": ["another"]},
    )
    registry = await start(webhooks=file, webhook_poll_seconds=0.05)
    rollout = await registry.running()
    await registry.rollback(rollout)
    await until(lambda: receiver.got)
    await registry.app._courier.measure()
    found = {
        one.attributes[0]: one.total
        for one in await metrics(registry.app.address)
        if one.metric is operations.UNDELIVERED
    }
    assert found == {"on-call": 1.0, "other": 0.0}


async def test_a_webhook_that_paused_by_a_clock_that_was_ahead_is_told_when_it_is_right_again(
    start: Start, receiver: Receiver, tmp_path: Path, database: str
) -> None:
    file = webhooks(tmp_path, {"name": "on-call", "url": receiver.url, "secret_file": secret(tmp_path)})
    registry = await start(webhooks=file, webhook_poll_seconds=0.05)
    engine, then = open_engine(parse_url(database), 1), time.time() + 315_360_000.0
    with engine.begin() as connection:
        connection.execute(insert(receivers).values(webhook="on-call", due=then, failures=0))
    rollout = await registry.running()
    await registry.rollback(rollout)
    with engine.begin() as connection:
        connection.execute(update(outbox).values(due=then, created=then))
    engine.dispose()
    assert not receiver.got
    await registry.app._courier.measure()
    await until(lambda: receiver.got)
