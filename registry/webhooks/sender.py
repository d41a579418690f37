"""Posting over HTTP."""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from registry.webhooks.forms import Request
from registry.webhooks.secrecy import reveals
from services.common.text import fitting

_SILENCE_SECONDS: Final = 10.0
POST_SECONDS: Final = 12.0
"""One request, from first to last."""
_READ_BYTES: Final = 8 * 1024
_SAID_CHARACTERS: Final = 200
_NOT_REFUSED: Final = frozenset({408, 425, 429})
"""4xx that say nothing of the request: too slow, too early, too many."""
Addresses = Sequence[tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]]


class SendError(Exception):
    """It was not taken; the message says why, without the URL, which may be a secret."""


class RefusedError(SendError):
    """The receiver does not want this request, whenever it comes."""


class HttpSender:
    """Posts requests; blocks while it does.

    Args:
        silence_seconds: for so long a receiver may say nothing.
        post_seconds: for so long a request may take: a receiver that sends a byte now and then would keep its thread,
            for hours.
        lookup: a host's addresses.
    """

    def __init__(
        self,
        silence_seconds: float = _SILENCE_SECONDS,
        post_seconds: float = POST_SECONDS,
        lookup: Callable[..., Addresses] = socket.getaddrinfo,
    ) -> None:
        self._silence = silence_seconds
        self._longest = post_seconds
        self._lookup = lookup

    def post(self, url: str, request: Request) -> None:
        """Posts; answers when it was taken (2xx).

        Redirects are not followed, since what is signed is for nobody else, and no proxy of the environment is asked.

        Raises:
            SendError: it was not.
            RefusedError: and it will not be (4xx).
        """
        end = time.monotonic() + self._longest
        parts = urlsplit(url)
        try:
            tls = _tls() if parts.scheme == "https" else None
            with closing(_connection(parts, tls)) as connection:
                connection.sock = sock = self._connected(connection.host, connection.port, tls, end)
                with _ended_at(end, sock):
                    if isinstance(sock, ssl.SSLSocket):
                        _shake_hands(sock)
                    headers = {"user-agent": "crossfade-registry", "connection": "close", **request.headers}
                    connection.request("POST", _target(parts), request.body, headers)
                    response = connection.getresponse()
                    # Headers that were cut off pass for whole ones.
                    if time.monotonic() >= end:
                        raise TimeoutError
                    if not 200 <= response.status < 300:
                        status = response.status
                        refused = 400 <= status < 500 and status not in _NOT_REFUSED
                        raise (RefusedError if refused else SendError)(f"HTTP {status}{_said(response, parts)}")
        except (OSError, http.client.HTTPException, ValueError, SendError) as error:
            if time.monotonic() >= end:
                raise SendError(f"no whole answer within {self._longest:g} s") from error
            if isinstance(error, SendError):
                raise
            if isinstance(error, TimeoutError):
                raise SendError(f"no answer within {self._silence:g} s") from error
            # Not its text, in which the URL may stand.
            raise SendError(f"it could not be sent ({type(error).__name__})") from error

    def _connected(self, host: str, port: int, tls: ssl.SSLContext | None, end: float) -> socket.socket:
        """A connection to the first of the host's addresses that answers; each gets its share of the time."""
        failure: OSError = OSError("it has no address")
        try:
            found = self._addresses(host, port, end)
            for place, (family, kind, protocol, _, address) in enumerate(found):
                share = max(0.001, (end - time.monotonic()) / (len(found) - place))
                sock = socket.socket(family, kind, protocol)
                try:
                    sock.settimeout(min(self._silence, share))
                    sock.connect(address)
                    sock.settimeout(self._silence)
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    if tls is None:
                        return sock
                    return tls.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
                except OSError as error:
                    sock.close()
                    failure = error
            raise failure
        except OSError as error:
            raise SendError(f"no connection: {error}") from error

    def _addresses(self, host: str, port: int, end: float) -> Addresses:
        """A host's addresses. Nothing can end a lookup, so it has a thread of its own, which is left to itself."""
        answer: Future[Addresses] = Future()

        def ask() -> None:
            try:
                answer.set_result(self._lookup(host, port, type=socket.SOCK_STREAM))
            except Exception as error:  # noqa: BLE001 - told to the one who waits
                answer.set_exception(error)

        threading.Thread(target=ask, name="lookup", daemon=True).start()
        try:
            return answer.result(max(0.0, end - time.monotonic()))
        except TimeoutError as error:
            raise TimeoutError("its address was not found in time") from error


def _shake_hands(sock: ssl.SSLSocket) -> None:
    try:
        sock.do_handshake()
    except OSError as error:
        raise SendError(f"no connection: {error}") from error


def _connection(parts: SplitResult, tls: ssl.SSLContext | None) -> http.client.HTTPConnection:
    # Without a port it takes the end of an IPv6 address for one.
    if tls is None:
        return http.client.HTTPConnection(parts.hostname or "", parts.port or http.client.HTTP_PORT)
    return http.client.HTTPSConnection(parts.hostname or "", parts.port or http.client.HTTPS_PORT, context=tls)


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


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
        # Not TLS's own, which takes away from under the thread what that reads with.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _said(response: http.client.HTTPResponse, url: SplitResult) -> str:
    """The first line of what an error's answer says, as far as it comes at once; nothing where it says the URL."""
    try:
        text = response.read1(_READ_BYTES).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException, ValueError, AttributeError):
        return ""
    first, more, _ = text.strip().partition("\n")
    line = "".join(character for character in first if character.isprintable())
    # Before it is cut: half a secret is too much.
    whole = bool(more) or response.isclosed() or response.length == 0
    if not line or reveals(line, url, whole=whole):
        return ""
    return f": {fitting(line, _SAID_CHARACTERS)}"
