"""Posting to receivers of every kind: what is taken, what is not, and that none keeps a thread."""

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from registry.webhooks.forms import Request
from registry.webhooks.sender import HttpSender, SendError

Answer = Callable[[socket.socket], None]
REQUEST = Request(b'{"a":1}', {"content-type": "application/json"})


class Receiver:
    """A receiver that answers its first request as it is told to.

    Attributes:
        got: what was sent, as far as it was read.
    """

    def __init__(self, answer: Answer) -> None:
        self.got = b""
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/hooks/x?token=y"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Ends it."""
        self._listener.close()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
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
