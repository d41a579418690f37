"""The HTTP(S) server of the metrics page: a thread per connection, its certificate of today, its faults in the log."""

import socket
import ssl
import sys
import time
from contextlib import suppress
from socketserver import ThreadingMixIn
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, cast
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, WSGIServer

import structlog

from crossfade.connection import TlsContents
from services.common.errors import CrossfadeError
from services.common.identity import GET_METRICS, authorize, certificate_principal
from services.common.own_certificate import OwnCertificate
from services.common.settings import ServiceSettings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_SILENCE_SECONDS: Final = 10.0
"""For so long a scraper may say nothing."""
_PAUSE_SECONDS: Final = 0.5
_LONGEST_LINE: Final = 65_536

_Failure = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


class PageServer(ThreadingMixIn, WSGIServer):
    """Listens, and answers those who may ask for metrics once it is told to.

    Args:
        address: host and port to listen on.
        settings: of which trust domain callers are, and the TLS files.
        certificate: what it shows; None: it is without TLS, and answers everybody.
        log: gets what fails.

    Raises:
        OSError: it cannot listen there.
    """

    daemon_threads = True

    def __init__(
        self,
        address: tuple[str, int],
        settings: ServiceSettings,
        certificate: OwnCertificate | None,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self.settings = settings
        self.log = log
        self._certificate = certificate
        self._context: ssl.SSLContext | None = None
        self._shown: TlsContents | None = None
        if certificate is not None:
            self._context = self._read(certificate.current())
        super().__init__(address, _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Takes a connection."""
        try:
            connection, address = super().get_request()
        except OSError:
            # There may be no file descriptor for it, and it would be asked for again at once, without an end.
            time.sleep(_PAUSE_SECONDS)
            raise
        try:
            context = self._today()
            if context is not None:
                # The handshake is for the connection's own thread: whoever says nothing would keep everybody from the
                # page, and the process from ending.
                connection = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        except OSError:
            connection.close()
            raise
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says in the log what failed outside of an answer."""
        del request, client_address
        self.log.error("the metrics page failed", exc_info=sys.exception())

    def _today(self) -> ssl.SSLContext | None:
        """What the files hold; the one thread that takes connections asks."""
        if self._certificate is not None:
            contents = self._certificate.current()
            if contents is not self._shown:
                # Exchanged again since they were looked at: the next connection looks again.
                with suppress(OSError):
                    self._context = self._read(contents)
        return self._context

    def _read(self, contents: TlsContents) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=contents.ca.decode("ascii", "ignore"))
        files = self.settings
        context.load_cert_chain(str(files.tls_certificate), str(files.tls_key), password="")
        self._shown = contents
        return context


class _Answer(ServerHandler):
    """Writes one answer."""

    def __init__(self, *given: Any, log: structlog.typing.FilteringBoundLogger, **more: Any) -> None:
        super().__init__(*given, **more)
        self._log = log

    def log_exception(self, exc_info: _Failure) -> None:
        """Says in the log what failed; a scraper that has given up is no failure."""
        if not isinstance(exc_info[1], OSError):
            self._log.error("the metrics page failed", exc_info=exc_info)


class _Handler(WSGIRequestHandler):
    """One connection."""

    timeout = _SILENCE_SECONDS
    server: PageServer

    def handle(self) -> None:
        """Answers its request."""
        # Silent, without a certificate, or gone: nobody is there to be told.
        with suppress(OSError):
            refusal = _refusal(self.connection, self.server.settings.trust_domain)
            self.raw_requestline = self.rfile.readline(_LONGEST_LINE + 1)
            if refusal:
                self._refuse(f"{refusal}\n".encode())
            elif len(self.raw_requestline) > _LONGEST_LINE:
                self.requestline = self.request_version = self.command = ""
                self.send_error(414)
            elif self.parse_request():
                streams = (self.rfile, self.wfile, self.get_stderr(), self.get_environ())
                answer = _Answer(*streams, log=self.server.log, multithread=True)
                # The handler asks its connection's for the caller's address.
                answer.request_handler = self  # type: ignore[attr-defined]
                answer.run(cast("WSGIApplication", self.server.get_app()))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Says nothing of answers."""

    def _refuse(self, body: bytes) -> None:
        head = f"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
        self.wfile.write(head.encode() + body)


def _refusal(connection: socket.socket, trust_domain: str) -> str:
    """Why the other end may not have metrics; empty: it may."""
    if not isinstance(connection, ssl.SSLSocket):
        return ""
    connection.do_handshake()
    names: Any = (connection.getpeercert() or {}).get("subjectAltName", ())
    try:
        authorize(certificate_principal((name for kind, name in names if kind == "URI"), trust_domain), GET_METRICS)
    except CrossfadeError as error:
        return error.message
    return ""
