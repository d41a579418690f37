"""A receiver of webhooks, and what a Registry says of them."""

import json
import random
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.integration.registry.harness import Registry, new_id


class Receiver:
    """A receiver of webhooks on a port.

    Attributes:
        status: what it answers.
        refuses: ids of events that it answers with 400.
        answers: while it is not set, nobody gets an answer.
        got: (headers, body) of every request, in their order.
    """

    def __init__(self) -> None:
        self.status = 204
        self.refuses: set[str] = set()
        self.answers = threading.Event()
        self.answers.set()
        self.got: list[tuple[dict[str, str], bytes]] = []
        self._one = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                told = json.loads(body)
                with outer._one:
                    outer.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                    status = 400 if told.get("id") in outer.refuses else outer.status
                outer.answers.wait(10)
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hooks/secret-path"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def begin_anew(self, status: int) -> None:
        """Answers so from now on, and has got nothing: what it has got afterwards it answered so."""
        with self._one:
            self.status = status
            self.got.clear()

    def close(self) -> None:
        """Ends it."""
        self.answers.set()
        self._server.shutdown()
        self._server.server_close()

    def events(self) -> list[dict[str, Any]]:
        """The CloudEvents that it got."""
        return [json.loads(body) for _, body in self.got]


def pauses(first: float) -> Callable[[float, float], float]:
    """Draws the pauses between attempts: the first is of so many seconds at most, the others are as much shorter."""
    return lambda low, high: random.uniform(low, high) * first / 5.0


def webhooks(folder: Path, *entries: dict[str, Any]) -> Path:
    """The file that names them."""
    file = folder / "webhooks.toml"
    lines = []
    for entry in entries:
        lines.append("[[webhook]]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in entry.items()]
    file.write_text("\n".join(lines))
    return file


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


async def all_told(registry: Registry) -> bool:
    return all(one.undelivered == 0 for one in (await listed(registry)).values())
