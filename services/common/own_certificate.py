"""The certificate that a process shows: read again when its files change, and its end told in time."""

import asyncio
import datetime as dt
import math
import threading
import time
from collections.abc import Callable
from typing import Final

import grpc
import structlog

from crossfade.connection import Stamp, TlsContents
from services.common.channels import tls_contents, tls_files
from services.common.loops import begun_again
from services.common.settings import TlsSettings
from services.common.telemetry import operations
from services.common.telemetry.store import Snapshot

_LOOK_SECONDS: Final = 60.0
_WARN_SECONDS: Final = 7 * 86_400.0
_AGAIN_SECONDS: Final = 86_400.0


class OwnCertificate:
    """What a process shows to its callers, and to those that it calls.

    New connections get what the files hold then, those of callers and those to others alike (`RenewedChannel`).

    Args:
        settings: the files.
        log: told when they are exchanged, cannot be used, or end soon.
        calls: whether the process calls others over TLS.
        contents: what the files held when they were read before; None: they are read now.
        now: seconds since 1970-01-01 UTC.

    Raises:
        ValueError: a file cannot be read, or is not what it is to be; the message names it and its setting.
    """

    def __init__(
        self,
        settings: TlsSettings,
        log: structlog.typing.FilteringBoundLogger,
        *,
        calls: bool = True,
        contents: TlsContents | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._log = log
        self._now = now
        # What was read before may be older than the files.
        self._seen: Stamp = () if contents else tls_files(settings).stamp()
        self._contents = contents or tls_contents(settings)
        self._refused: Stamp = ()
        self._uses = ("serving", "calling") if calls else ("serving",)
        self._told = self._contents
        self._warned = -math.inf
        # gRPC's threads ask, the metrics page's, and the event loop.
        self._lock = threading.Lock()

    def credentials(self) -> grpc.ServerCredentials:
        """The server's side of mutual TLS: clients without a certificate are refused."""
        return grpc.dynamic_ssl_server_credentials(
            _configuration(self._contents),
            self._changed,  # type: ignore[arg-type]  # grpc takes None for no news, as its documentation says
            require_client_authentication=True,
        )

    def current(self) -> TlsContents:
        """What the files hold; what they held before, while they do not belong together."""
        with self._lock:
            stamp = tls_files(self._settings).stamp()
            if stamp == self._seen:
                return self._contents
            try:
                read = tls_contents(self._settings)
            except ValueError as error:
                if stamp != self._refused:
                    self._refused = stamp
                    self._log.warning(
                        "the TLS files have changed and cannot be used; those from before stay in force",
                        reason=str(error),
                    )
                return self._contents
            self._seen = stamp
            if read != self._contents:
                self._contents = read
                self._log.info("the TLS files have changed and are used for new connections", ends=_date(read.ends))
            return self._contents

    def series(self) -> list[Snapshot]:
        """When the certificate ends, as metrics."""
        ends = self._contents.ends
        return (
            []
            if math.isinf(ends)
            else [Snapshot(operations.CERTIFICATE_EXPIRY, (use,), (), ends) for use in self._uses]
        )

    def remind(self) -> None:
        """Warns each day from a week before the end on."""
        now, ends = self._now(), self._contents.ends
        # A clock that was set back since would remind nobody until it comes to where it was.
        if ends - now < _WARN_SECONDS and abs(now - self._warned) >= _AGAIN_SECONDS:
            self._warned = now
            self._log.warning(
                "the certificate has ended" if now >= ends else "the certificate ends soon",
                ends=_date(ends),
                advice="replace the files of CROSSFADE_TLS_CERTIFICATE and CROSSFADE_TLS_KEY: new connections, of "
                "callers and to others, use what they hold, and nothing has to be started anew",
            )

    async def watch(self) -> None:
        """Looks at the files, and reminds, until it is cancelled."""
        await begun_again(self._look, self._log)

    async def _look(self) -> None:
        while True:
            await asyncio.to_thread(self.current)
            self.remind()
            await asyncio.sleep(_LOOK_SECONDS)

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """For gRPC, at each new connection; None: nothing is new."""
        contents = self.current()
        with self._lock:
            if contents is self._told:
                return None
            self._told = contents
        return _configuration(contents)


def own_certificate(
    settings: TlsSettings, log: structlog.typing.FilteringBoundLogger, *, calls: bool = True
) -> OwnCertificate | None:
    """The process's certificate; None: its settings are without TLS.

    Raises:
        ValueError: a file cannot be used, or only some are set.
    """
    return OwnCertificate(settings, log, calls=calls) if settings.tls else None


def _configuration(contents: TlsContents) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(contents.key, contents.certificate)], contents.ca)


def _date(seconds: float) -> str:
    return "" if math.isinf(seconds) else dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="seconds")
