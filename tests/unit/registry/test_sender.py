"""Posting to receivers of every kind: what is taken, what is not, and that none keeps a thread."""

import datetime as dt
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crossfade.cli.actions.certificates import make_certificates
from registry.webhooks.forms import Request
from registry.webhooks.sender import Addresses, HttpSender, RefusedError, SendError

Answer = Callable[[socket.socket], None]
REQUEST = Request(b'{"a":1}', {"content-type": "application/json"})


class Receiver:
    """A receiver that answers its first request as it is told to.

    Attributes:
        got: what was sent, as far as it was read.
    """

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None = None) -> None:
        self.got = b""
        self._tls = tls
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/hooks/x?token=y"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Ends it."""
        self._listener.close()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        if self._tls is not None:
            try:
                connection = self._tls.wrap_socket(connection, server_side=True)
            except OSError:
                return
        with connection:
            while REQUEST.body not in self.got:
                self.got += connection.recv(65_536)
            try:
                self._answer(connection)
            except OSError:
                return


@pytest.fixture
def receive() -> Iterator[Callable[[Answer], Receiver]]:
    """Starts receivers."""
    started: list[Receiver] = []

    def start(answer: Answer) -> Receiver:
        started.append(Receiver(answer))
        return started[-1]

    yield start
    for one in started:
        one.close()


def says(text: bytes) -> Answer:
    return lambda connection: connection.sendall(text)


def drips(begin: bytes) -> Answer:
    """Begins an answer, and goes on with a byte now and then for as long as somebody listens."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(begin)
        for _ in range(600):
            time.sleep(0.05)
            connection.sendall(b"a")

    return answer


def test_what_is_posted(receive: Callable[[Answer], Receiver]) -> None:
    receiver = receive(says(b"HTTP/1.1 204 No Content\r\n\r\n"))
    HttpSender().post(receiver.url, REQUEST)
    head, _, body = receiver.got.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert (lines[0], body) == (b"post /hooks/x?token=y http/1.1", REQUEST.body)
    assert {b"content-type: application/json", b"content-length: 7", b"user-agent: crossfade-registry"} < set(lines)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 503 Busy\r\ncontent-length: 11\r\n\r\ntry later\r\n", "HTTP 503: try later"),
        (b"HTTP/1.1 302 Found\r\nlocation: http://example.com/\r\ncontent-length: 0\r\n\r\n", "HTTP 302"),
        (b"SSH-2.0-OpenSSH\r\n", "it could not be sent (BadStatusLine)"),
        (b"", "it could not be sent (RemoteDisconnected)"),
    ],
)
def test_what_is_not_taken(receive: Callable[[Answer], Receiver], answer: bytes, why: str) -> None:
    with pytest.raises(SendError) as caught:
        HttpSender().post(receive(says(answer)).url, REQUEST)
    assert str(caught.value) == why


def answers(status: int, body: str, declared: int | None = None) -> Answer:
    """An error with a text, of which it may have said that there is more."""
    data = body.encode()
    length = len(data) if declared is None else declared
    return says(f"HTTP/1.1 {status} No\r\ncontent-length: {length}\r\n\r\n".encode() + data)


PATH = "/services/T0SECRET/B0/to%20psecret"
QUERY = "key=also+secret&v=1"


@pytest.mark.parametrize(
    "body",
    [
        f'{{"message":"Route POST:{PATH}?{QUERY} not found"}}',
        f"Cannot POST {PATH}",
        "No handler for /services/T0SECRET/B0/to psecret",
        "No handler for %2Fservices%2FT0SECRET%2FB0%2Fto%2520psecret",
        r'{"path":"\/services\/T0SECRET\/B0"}',
        "unknown: t0secret",
        "unknown: T0SE\u200bCRET",
        "unknown: also secret",
        "unknown: also%20secret",
        "x" * 195 + "T0SECRET",
        "x" * 1000 + "T0SECRET",
    ],
)
def test_a_receiver_that_says_where_it_listens_is_not_quoted(receive: Callable[[Answer], Receiver], body: str) -> None:
    url = receive(answers(404, body)).url.replace("/hooks/x?token=y", f"{PATH}?{QUERY}")
    with pytest.raises(RefusedError) as caught:
        HttpSender().post(url, REQUEST)
    assert str(caught.value) == "HTTP 404"


@pytest.mark.parametrize("body", ["Cannot POST /serv", "unknown: T0SEC", "unknown: also%20s"])
def test_a_text_that_breaks_off_within_a_secret_is_not_quoted(receive: Callable[[Answer], Receiver], body: str) -> None:
    url = receive(answers(404, body, 500)).url.replace("/hooks/x?token=y", f"{PATH}?{QUERY}")
    with pytest.raises(RefusedError) as caught:
        HttpSender().post(url, REQUEST)
    assert str(caught.value) == "HTTP 404"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("no_service", "no_service"),
        ("invalid token\nof T0SECRET", "invalid token"),
        ("x" * 300, "x" * 199 + "…"),
        ("v must be 2, B0", "v must be 2, B0"),
    ],
)
def test_what_else_a_receiver_says_is_quoted(receive: Callable[[Answer], Receiver], body: str, said: str) -> None:
    url = receive(answers(400, body)).url.replace("/hooks/x?token=y", f"{PATH}?{QUERY}")
    with pytest.raises(RefusedError) as caught:
        HttpSender().post(url, REQUEST)
    assert str(caught.value) == f"HTTP 400: {said}"


def test_a_receiver_that_says_nothing(receive: Callable[[Answer], Receiver]) -> None:
    with pytest.raises(SendError, match=r"no answer within 0\.2 s"):
        HttpSender(silence_seconds=0.2).post(receive(lambda _: time.sleep(2)).url, REQUEST)


@pytest.mark.parametrize(
    "begin",
    [b"HTTP/1.1 200 OK\r\nx: ", b"HTTP/1.1 500 Oops\r\ntransfer-encoding: chunked\r\n\r\n"],
    ids=["headers", "an error's text"],
)
def test_a_receiver_that_sends_a_byte_now_and_then_keeps_no_thread(
    receive: Callable[[Answer], Receiver], begin: bytes
) -> None:
    began = time.monotonic()
    with pytest.raises(SendError, match=r"no whole answer within 0\.5 s"):
        HttpSender(post_seconds=0.5).post(receive(drips(begin)).url, REQUEST)
    assert time.monotonic() - began < 5.0


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(SendError, match="no connection: "):
        HttpSender().post(f"http://127.0.0.1:{port}/", REQUEST)


@pytest.mark.parametrize(
    ("status", "refused"),
    [
        (400, True),
        (404, True),
        (410, True),
        (422, True),
        (408, False),
        (425, False),
        (429, False),
        (302, False),
        (500, False),
    ],
)
def test_what_is_refused_for_good(receive: Callable[[Answer], Receiver], status: int, refused: bool) -> None:
    receiver = receive(says(f"HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n".encode()))
    with pytest.raises(SendError, match=f"HTTP {status}") as caught:
        HttpSender().post(receiver.url, REQUEST)
    assert isinstance(caught.value, RefusedError) == refused


@pytest.fixture
def silent() -> Iterator[int]:
    """A port whose owner takes no connections, and answers none."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        waiting = []
        for _ in range(8):
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(("127.0.0.1", port))
        yield port
        for one in waiting:
            one.close()


def found(*ports: int) -> Callable[..., Addresses]:
    """A lookup that finds these ports of this host."""
    kind = (socket.AF_INET, socket.SOCK_STREAM, 0, "")
    return lambda *_, **__: [(*kind, ("127.0.0.1", port)) for port in ports]


def test_a_receiver_of_many_addresses_that_are_silent_keeps_no_thread(silent: int) -> None:
    began = time.monotonic()
    with pytest.raises(SendError, match=r"no whole answer within 0\.6 s|no connection: timed out"):
        HttpSender(0.5, 0.6, found(*[silent] * 20)).post("http://receiver/", REQUEST)
    assert time.monotonic() - began < 5.0


def test_a_silent_address_leaves_time_for_the_next(receive: Callable[[Answer], Receiver], silent: int) -> None:
    receiver = receive(says(b"HTTP/1.1 204 No Content\r\n\r\n"))
    port = int(receiver.url.split(":")[2].partition("/")[0])
    HttpSender(5.0, 2.0, found(silent, port)).post("http://receiver/", REQUEST)
    assert receiver.got.endswith(REQUEST.body)


def test_a_lookup_that_takes_too_long_keeps_no_thread_and_nothing_is_sent_after_it(
    receive: Callable[[Answer], Receiver],
) -> None:
    receiver = receive(says(b"HTTP/1.1 204 No Content\r\n\r\n"))
    port = int(receiver.url.split(":")[2].partition("/")[0])
    go, gone = threading.Event(), threading.Event()

    def slow(*_: Any, **__: Any) -> Addresses:
        go.wait(20)
        gone.set()
        return found(port)()

    with pytest.raises(SendError, match=r"no whole answer within 0\.3 s"):
        HttpSender(0.2, 0.3, slow).post("http://receiver/", REQUEST)
    go.set()
    assert gone.wait(5)
    assert receiver.got == b""


def test_no_address() -> None:
    def unknown(*_: Any, **__: Any) -> Addresses:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(SendError, match=r"no connection: .*not known"):
        HttpSender(lookup=unknown).post("http://receiver/", REQUEST)


def test_a_receiver_that_says_nothing_to_tls(receive: Callable[[Answer], Receiver]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(SendError, match=r"no connection: .*timed out"):
            HttpSender(silence_seconds=0.2).post(f"https://127.0.0.1:{port}/", REQUEST)
        with pytest.raises(SendError, match=r"no whole answer within 0\.2 s"):
            HttpSender(post_seconds=0.2).post(f"https://127.0.0.1:{port}/", REQUEST)


def test_a_receiver_is_known_by_its_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "tls"
    make_certificates(folder, [], dt.datetime.now(dt.UTC))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "router.pem", folder / "router.key")
    for trusted in (False, True):
        receiver = Receiver(says(b"HTTP/1.1 204 No Content\r\n\r\n"), context)
        url = receiver.url.replace("http://127.0.0.1", "https://localhost")
        if trusted:
            monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
            HttpSender().post(url, REQUEST)
        else:
            with pytest.raises(SendError, match=r"no connection: .*certificate verify failed"):
                HttpSender().post(url, REQUEST)
        receiver.close()
        assert receiver.got.endswith(REQUEST.body) == trusted
