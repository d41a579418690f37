"""Artifacts from HTTP servers of many kinds: whole, or refused with what went wrong."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from crossfade.manifest import SIGNATURE_FILE
from services.worker.artifacts.fetch import copy_artifact, fetch_signature
from services.worker.domain import ArtifactRef, LoadError
from tests.fakes.models import Packaged, package_scores

Serve = Callable[[type[BaseHTTPRequestHandler]], str]


class Files(SimpleHTTPRequestHandler):
    """Whole files, with their lengths."""

    def log_message(self, *args: Any) -> None:
        """Nothing."""


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


class CutOff(Files):
    """Half of each file."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Half of it."""
        data = source.read()
        outputfile.write(data[: len(data) // 2])


class Failing(Files):
    """Is out of order."""

    def do_HEAD(self) -> None:
        """Fails."""
        self.send_error(503)

    def do_GET(self) -> None:
        """Fails."""
        self.send_error(503)


class Server(ThreadingHTTPServer):
    """Says nothing of clients that have read enough."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Packaged:
    """In a folder with a blank in its name, and too large to be read at once."""
    return package_scores(tmp_path_factory.mktemp("site") / "scores v1", work=1800)


@pytest.fixture
def serve(packaged: Packaged) -> Iterator[Serve]:
    """Starts servers of the folder; answers the artifact's address."""
    servers: list[Server] = []

    def start(handler: type[BaseHTTPRequestHandler]) -> str:
        folder = str(packaged.artifact.path.parent)
        server = Server(("127.0.0.1", 0), partial(handler, directory=folder))  # type: ignore[call-arg] # Files take it
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/scores%20v1"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def fetched(uri: str, packaged: Packaged, target: Path) -> list[Path]:
    artifact = packaged.artifact
    target.mkdir()
    copy_artifact(uri, ArtifactRef(uri, artifact.digest, artifact.size), target, lambda: False)
    return sorted(target.iterdir())


def refusal(uri: str, packaged: Packaged, target: Path) -> str:
    with pytest.raises(LoadError) as raised:
        fetched(uri, packaged, target)
    assert raised.value.transient
    return str(raised.value).removeprefix(f"{uri}/model.json ")


@pytest.mark.parametrize("handler", [Files, Chunks])
def test_every_byte_arrives(
    handler: type[BaseHTTPRequestHandler], serve: Serve, packaged: Packaged, tmp_path: Path
) -> None:
    uri = serve(handler)
    assert packaged.artifact.size > 12 << 20
    there = {path.name: path.read_bytes() for path in packaged.artifact.path.iterdir()}
    assert {path.name: path.read_bytes() for path in fetched(uri, packaged, tmp_path / "here")} == there
    assert fetch_signature(uri) is None
    signature = packaged.artifact.path / SIGNATURE_FILE
    try:
        signature.write_bytes(bytes(range(256)) * 400)
        assert fetch_signature(uri) == signature.read_bytes()
        signature.write_bytes(bytes(1 << 21))
        with pytest.raises(LoadError, match="is larger than a signature may be"):
            fetch_signature(uri)
    finally:
        signature.unlink()


def test_what_went_wrong_is_said(serve: Serve, packaged: Packaged, tmp_path: Path) -> None:
    assert refusal(serve(Files) + "0", packaged, tmp_path / "a") == "does not exist"
    assert "could not be fetched: ClientPayloadError" in refusal(serve(CutOff), packaged, tmp_path / "b")
    assert "could not be fetched: ClientResponseError: 503" in refusal(serve(Failing), packaged, tmp_path / "c")
    assert "Cannot connect to host" in refusal("http://127.0.0.1:9/scores%20v1", packaged, tmp_path / "d")


def test_redirects_are_not_followed(serve: Serve, packaged: Packaged, tmp_path: Path) -> None:
    elsewhere = serve(Files)

    class Elsewhere(Files):
        """Sends to another server."""

        def do_GET(self) -> None:
            """Sends there."""
            self.send_response(302)
            self.send_header("Location", f"{elsewhere}/model.json")
            self.end_headers()

        def do_HEAD(self) -> None:
            """Sends there."""
            self.do_GET()

    uri = serve(Elsewhere)
    refused = refusal(uri, packaged, tmp_path / "here")
    assert refused.startswith("answers that the file is elsewhere")


@pytest.mark.parametrize("handler", [Failing, None])
def test_a_server_that_fails_is_no_missing_signature(
    handler: type[BaseHTTPRequestHandler] | None, serve: Serve
) -> None:
    uri = serve(handler) if handler else "http://127.0.0.1:9/scores%20v1"
    with pytest.raises(LoadError, match="could not be fetched"):
        fetch_signature(uri)
