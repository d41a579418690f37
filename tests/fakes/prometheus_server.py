"""An HTTP server that answers as it is told: a Prometheus in trouble."""

import json
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

MATRIX = {"resultType": "matrix", "result": []}


@dataclass
class Asked:
    """One question: its path, its form, and its headers by lower-case name."""

    path: str
    form: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass
class PrometheusServer:
    """Answers every question alike.

    Attributes:
        status: of the answer.
        body: of the answer.
        headers: further ones.
        asked: all questions.
        pieces: the body comes a byte at a time, each this many seconds after the other; 0: at once.
        gate: answers wait for it.
    """

    status: int = 200
    body: bytes = json.dumps({"status": "success", "data": MATRIX}).encode()
    headers: Mapping[str, str] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    pieces: float = 0.0
    gate: threading.Event = field(default_factory=threading.Event)
    _server: ThreadingHTTPServer | None = None
    _thread: threading.Thread | None = None

    def start(self, tls: ssl.SSLContext | None = None) -> None:
        """Serves on a free port of the loopback address."""
        owner = self
        self.gate.set()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                owner._answer(self)

            def do_GET(self) -> None:
                owner._answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        return int(self._server.server_address[1])

    def say(self, answer: object, status: int = 200) -> None:
        """What it answers from now on, as JSON."""
        self.body, self.status = json.dumps(answer).encode(), status

    def stop(self) -> None:
        """Ends at once."""
        self.gate.set()
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(timeout=5)

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        form = handler.rfile.read(int(handler.headers.get("content-length", 0))).decode()
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.asked.append(Asked(handler.path, dict(parse_qsl(form)), headers))
        self.gate.wait(30)
        try:
            handler.send_response(self.status)
            for name, value in {**self.headers, "content-length": str(len(self.body))}.items():
                handler.send_header(name, value)
            handler.end_headers()
            if not self.pieces:
                handler.wfile.write(self.body)
                return
            stop = threading.Event()
            for place in range(len(self.body)):
                handler.wfile.write(self.body[place : place + 1])
                stop.wait(self.pieces)
        except OSError:
            # Whoever asked has gone.
            handler.close_connection = True
