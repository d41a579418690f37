"""A folder at an HTTP server."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self


class Files(SimpleHTTPRequestHandler):
    """Whole files, with their lengths."""

    def log_message(self, *args: Any) -> None:
        """Nothing."""


class CutOff(Files):
    """Half of each program, and then the connection's end; everything else is whole."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """The file, or half of it."""
        data = source.read()
        outputfile.write(data[: len(data) // 2] if self.path.endswith("/program.pt2") else data)


class Chunks(Files):
    """Files in chunks of 10,000 bytes, and no word of their length; no HEAD."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        """Refuses."""
        self.send_error(405)

    def do_GET(self) -> None:
        """A file."""
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        data = path.read_bytes()
        for part in (data[at : at + 10_000] for at in range(0, len(data), 10_000)):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")


class Failing(Files):
    """Is out of order."""

    def do_HEAD(self) -> None:
        """Fails."""
        self.send_error(503)

    def do_GET(self) -> None:
        """Fails."""
        self.send_error(503)


def moved(to: str) -> type[Files]:
    """What sends to another address, whatever is asked for."""

    class Moved(Files):
        """Sends there."""

        def do_GET(self) -> None:
            """Sends there."""
            self.send_response(302)
            self.send_header("Location", to)
            self.end_headers()

        def do_HEAD(self) -> None:
            """Sends there."""
            self.do_GET()

    return Moved


class _Server(ThreadingHTTPServer):
    """Says nothing of clients that have read enough."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing."""


class Site:
    """Serves a folder.

    Args:
        folder: what is served.
        handler: how.
    """

    def __init__(self, folder: Path, handler: type[Files]) -> None:
        self._folder = str(folder)
        # A port of its own, on which it may begin again in another way.
        self._port = 0
        self._server: _Server
        self._begin(handler)

    @property
    def address(self) -> str:
        """http://HOST:PORT."""
        return f"http://127.0.0.1:{self._port}"

    def change(self, handler: type[Files]) -> None:
        """Goes on at the same address in another way."""
        self._end()
        self._begin(handler)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _begin(self, handler: type[Files]) -> None:
        self._server = _Server(("127.0.0.1", self._port), partial(handler, directory=self._folder))
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _end(self) -> None:
        self._server.shutdown()
        self._server.server_close()
