"""Others are told of outcomes, at least once, signed, whatever state their receivers are in."""

import asyncio
import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest

from crossfade.registry.v1 import resources_pb2, service_pb2
from registry.domain.webhooks import REFUSALS
from services.common.telemetry import operations
from tests.integration.registry.harness import Registry, Start, new_id
from tests.support.wait import until, until_async
from tests.support.worker import metrics

SECRET = b"a secret of more than sixteen bytes"


class Receiver:
    """A receiver of webhooks on a port.

    Attributes:
        status: what it answers.
        refuses: ids of events that it answers with 400.
        got: (headers, body) of every request, in their order.
    """

    def __init__(self) -> None:
        self.status = 204
        self.refuses: set[str] = set()
        self.got: list[tuple[dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                told = json.loads(body)
                self.send_response(400 if told.get("id") in outer.refuses else outer.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hooks/secret-path"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()

    def events(self) -> list[dict[str, Any]]:
        """The CloudEvents that it got."""
        return [json.loads(body) for _, body in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that takes everything."""
    made = Receiver()
    yield made
    made.close()


def webhooks(folder: Path, *entries: dict[str, Any]) -> Path:
    """The file that names them."""
    file = folder / "webhooks.toml"
    lines = []
    for entry in entries:
        lines.append("[[webhook]]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in entry.items()]
    file.write_text("\n".join(lines))
    return file


def secret(folder: Path) -> str:
    """The file of a secret."""
    file = folder / "secret"
    file.write_bytes(SECRET + b"\n")
    return str(file)


async def listed(registry: Registry) -> dict[str, resources_pb2.Webhook]:
    """The webhooks by name."""
    answer = await registry.stub.ListWebhooks(service_pb2.ListWebhooksRequest())
    return {one.name: one for one in answer.webhooks}


async def undo(registry: Registry) -> None:
    """Goes back, so that another event is told of."""
    lane = (await registry.model()).lanes[0]
    await registry.stub.UndoLane(
        service_pb2.UndoLaneRequest(
            model="models/m", etag=lane.etag, force=True, reason="callers complain", request_id=new_id()
        )
    )


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
    await until_async(lambda: _all_told(registry))
    # What nobody asked to be told of was not: publications, starts, readiness.
    assert len(receiver.got) == 1


async def _all_told(registry: Registry) -> bool:
    return all(one.undelivered == 0 for one in (await listed(registry)).values())


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


async def test_a_receiver_that_refuses_is_asked_again_and_gets_everything(
    start: Start, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.domain.webhooks._FIRST_SECONDS", 0.2)
    receiver.status = 503
    file = webhooks(tmp_path, {"name": "busy", "url": receiver.url})
    registry = await start(webhooks=file, webhook_poll_seconds=0.05)
    await registry.promote(await registry.running())
    await undo(registry)
    await until(lambda: len(receiver.got) >= 2)
    assert (await listed(registry))["busy"].deliveries[0].error == "HTTP 503"
    # One request at a time is tried, not one for each event, and they stay in their order.
    assert {one["type"] for one in receiver.events()} == {"crossfade.rollout.promoted.v1"}
    receiver.status = 200
    receiver.got.clear()
    await until_async(lambda: _all_told(registry))
    assert [one["type"] for one in receiver.events()] == ["crossfade.rollout.promoted.v1", "crossfade.lane.undone.v1"]


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


async def test_two_replicas_tell_each_event_once(start: Start, receiver: Receiver, tmp_path: Path) -> None:
    file = webhooks(tmp_path, {"name": "on-call", "url": receiver.url, "events": ["VERSION_PUBLISHED"]})
    replicas = [await start(webhooks=file, webhook_poll_seconds=0.02) for _ in range(2)]
    await replicas[0].create()
    await asyncio.gather(*(replicas[number % 2].publish(without_rollout=True) for number in range(20)))
    await until_async(lambda: _all_told(replicas[0]))
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


async def test_everything_comes_in_order_after_a_failure(
    start: Start, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.domain.webhooks._FIRST_SECONDS", 0.5)
    receiver.status = 500
    file = webhooks(tmp_path, {"name": "on-call", "url": receiver.url, "events": ["VERSION_PUBLISHED"]})
    registry = await start(webhooks=file, webhook_poll_seconds=0.02)
    await registry.create()
    for _ in range(12):
        await registry.publish(without_rollout=True)
    receiver.status = 200
    receiver.got.clear()
    await until_async(lambda: _all_told(registry), seconds=20)
    told = [int(one["id"].partition("/")[2]) for one in receiver.events()]
    assert told == sorted(told)


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
    start: Start, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.domain.webhooks._FIRST_SECONDS", 0.02)
    file = webhooks(tmp_path, {"name": "on-call", "url": receiver.url})
    registry = await start(webhooks=file, webhook_poll_seconds=0.02)
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
    await until_async(lambda: _all_told(registry))
    assert receiver.events()[-1]["id"] == refused


async def _left(registry: Registry, number: int) -> bool:
    return sum(one.undelivered for one in (await listed(registry)).values()) == number


async def test_a_dead_receiver_is_asked_once_in_a_while_and_not_once_for_each_model(
    start: Start, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.domain.webhooks._FIRST_SECONDS", 0.4)
    receiver.status = 503
    entry = {"name": "busy", "url": receiver.url, "events": ["MODEL_CREATED"]}
    registry = await start(webhooks=webhooks(tmp_path, entry), webhook_poll_seconds=0.02)
    for number in range(12):
        await registry.create(f"m{number}")
    await until(lambda: receiver.got)
    began = time.monotonic()
    await until(lambda: len(receiver.got) == 3)
    # The first two pauses are 0.2 s and 0.4 s at least.
    assert time.monotonic() - began > 0.4
    assert len({one["id"] for one in receiver.events()}) == 3
    assert len((await listed(registry))["busy"].deliveries) == 12
    receiver.status = 204
    receiver.got.clear()
    await until_async(lambda: _all_told(registry))
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


async def test_an_event_that_cannot_be_sent_holds_up_no_other_model(
    start: Start,
    receiver: Receiver,
    tmp_path: Path,
    shared_database: psycopg.Connection[tuple[object, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("registry.domain.webhooks._FIRST_SECONDS", 0.1)
    file = webhooks(tmp_path, {"name": "on-call", "url": receiver.url})
    registry = await start(webhooks=file, webhook_poll_seconds=0.05)
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
