"""Posting over HTTP."""

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Final
from urllib.parse import SplitResult, urlsplit

from registry.webhooks.forms import Request

_SILENCE_SECONDS: Final = 10.0
POST_SECONDS: Final = 12.0
"""One request, from first to last."""
_READ_BYTES: Final = 200


class SendError(Exception):
    """It was not taken; the message says why, without the URL, which may be a secret."""


class HttpSender:
    """Posts requests; blocks while it does.

    Args:
        silence_seconds: for so long a receiver may say nothing.
        post_seconds: for so long a request may take: a receiver that sends a byte now and then would keep its thread,
            and with a few requests all threads, for hours.
    """

    def __init__(self, silence_seconds: float = _SILENCE_SECONDS, post_seconds: float = POST_SECONDS) -> None:
        self._silence = silence_seconds
        self._longest = post_seconds

    def post(self, url: str, request: Request) -> None:
        """Posts; answers when it was taken (2xx).

        Redirects are not followed, since what is signed is for nobody else, and no proxy of the environment is asked.

        Raises:
            SendError: it was not.
        """
        end = time.monotonic() + self._longest
        parts = urlsplit(url)
        try:
            with closing(_connection(parts, self._silence)) as connection:
                try:
                    connection.connect()
                except OSError as error:
                    raise SendError(f"no connection: {error}") from error
                with _ended_at(end, connection.sock):
                    headers = {"user-agent": "crossfade-registry", "connection": "close", **request.headers}
                    connection.request("POST", _target(parts), request.body, headers)
                    response = connection.getresponse()
                    # Headers that were cut off pass for whole ones.
                    if time.monotonic() >= end:
                        raise TimeoutError
                    if not 200 <= response.status < 300:
                        raise SendError(f"HTTP {response.status}{_said(response)}")
        except (OSError, http.client.HTTPException, ValueError, SendError) as error:
            if time.monotonic() >= end:
                raise SendError(f"no whole answer within {self._longest:g} s") from error
            if isinstance(error, SendError):
                raise
            if isinstance(error, TimeoutError):
                raise SendError(f"no answer within {self._silence:g} s") from error
            # Not its text, in which the URL may stand.
            raise SendError(f"it could not be sent ({type(error).__name__})") from error


def _connection(parts: SplitResult, timeout: float) -> http.client.HTTPConnection:
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname or "", parts.port, timeout=timeout)


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


@contextmanager
def _ended_at(end: float, sock: socket.socket) -> Iterator[None]:
    """Ends what waits for a connection's other end when its time is over."""
    timer = threading.Timer(max(0.0, end - time.monotonic()), _end, (sock,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _end(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _said(response: http.client.HTTPResponse) -> str:
    """The first line of what an error's answer says, as far as it comes at once."""
    try:
        text = response.read1(_READ_BYTES).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException, ValueError, AttributeError):
        return ""
    line = "".join(character for character in text.strip().partition("\n")[0] if character.isprintable())
    return f": {line}" if line else ""
