"""Channels to other services: one set of options, TLS when the settings ask for it."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import grpc
from grpc import aio

from crossfade.connection import EACH_IN_TURN, MESSAGE_LIMIT, Stamp, TlsContents, TlsFiles
from crossfade.proxies import NO_PROXY
from crossfade.tls_check import TlsFileError
from services.common.renewed_channel import RenewedChannel
from services.common.setting_files import unreadable
from services.common.settings import TlsSettings

OPTIONS: Final = (
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.keepalive_time_ms", 60_000),
    # Also what TCP waits for an acknowledgement (TCP_USER_TIMEOUT). With 20 s, a Registry whose machine was gone took
    # the leases (15 s) of all its callers with it, although another Registry was there to be reported to.
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    # No backoff, but the least time that an attempt to connect is given: enough for TLS with another region. A call to
    # a Worker whose machine is gone waits so long before the Router asks the next one.
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.enable_retries", 0),
    # Services reach one another directly: a proxy that the environment names for other programs is none of theirs.
    *NO_PROXY,
)

_LOOK_SECONDS: Final = 1.0


class Channels:
    """Opens channels to other services; they share their credentials, those of the TLS files as they are.

    A check of the files takes 10 ms of the event loop, and a Router may connect to hundreds of processes at once.

    Args:
        tls: how others are reached.
        now: seconds since 1970-01-01 UTC.
        steady: seconds that never run backwards.
    """

    def __init__(
        self,
        tls: TlsSettings,
        now: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tls = tls
        self._now = now
        self._steady = steady
        self._look_at = 0.0
        self._stamp: Stamp = ()
        self._shared: grpc.ChannelCredentials | None = None
        self._ends = 0.0

    def open(self, address: str) -> aio.Channel:
        """Opens a channel to host:port.

        Raises:
            ValueError: a TLS file cannot be read or is not what it is to be, and what was there before is none or has
                ended.
        """
        return self._open(address, OPTIONS)

    def open_replicas(self, address: str) -> aio.Channel:
        """Opens a channel to host:port of which the host's addresses are replicas: each call goes to the next one.

        Raises:
            ValueError: as `open`.
        """
        return self._open(address, (*OPTIONS, EACH_IN_TURN))

    def _open(self, address: str, options: Sequence[tuple[str, Any]]) -> aio.Channel:
        if self._tls.tls:
            if self._shared is None or self._now() >= self._ends:
                self.credentials()
            return RenewedChannel(partial(aio.secure_channel, address, options=options), self.latest)
        return aio.insecure_channel(address, options=options)

    def latest(self) -> grpc.ChannelCredentials:
        """The client's side of mutual TLS: what the files held when they could last be used, looked at each second.

        Raises:
            ValueError: they never could.
        """
        if self._shared is None:
            return self.credentials()
        now = self._steady()
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            # The process's own server says what is wrong with them: `OwnCertificate`.
            with suppress(OSError, ValueError):
                self.credentials()
        return self._shared

    def credentials(self) -> grpc.ChannelCredentials:
        """The client's side of mutual TLS, of what the files hold now.

        Raises:
            ValueError: there are none, or one cannot be read or is not what it is to be.
        """
        # Files that change after this look differ from it at the next.
        stamp = tls_files(self._tls).stamp()
        if self._shared is None or not stamp or stamp != self._stamp or self._now() >= self._ends:
            contents = tls_contents(self._tls)
            self._shared = contents.channel_credentials()
            self._stamp, self._ends = stamp, contents.ends
        return self._shared


def channel_credentials(tls: TlsSettings) -> grpc.ChannelCredentials:
    """The client's side of mutual TLS.

    Raises:
        ValueError: there are none, or one cannot be read or is not what it is to be.
    """
    return Channels(tls).credentials()


def tls_contents(tls: TlsSettings) -> TlsContents:
    """What the files hold.

    Raises:
        ValueError: there are none, or one cannot be read or is not what it is to be; the message names the setting too.
    """
    try:
        return tls_files(tls).contents(one_ca=True)
    except OSError as error:
        raise unreadable(_setting(tls, error.filename), error.filename, error) from error
    except TlsFileError as error:
        raise ValueError(f"{_setting(tls, error.file)}: {error}") from error


def _setting(tls: TlsSettings, file: Path | str) -> str:
    """The variable that names a file."""
    names = ("tls_certificate", "tls_key", "tls_ca")
    return "CROSSFADE_" + next((name for name in names if getattr(tls, name) == Path(file)), "tls").upper()


def tls_files(tls: TlsSettings) -> TlsFiles:
    """The files.

    Raises:
        ValueError: there are none.
    """
    if tls.tls_ca is None or tls.tls_key is None or tls.tls_certificate is None:
        raise ValueError("no TLS files are set")
    return TlsFiles(tls.tls_certificate, tls.tls_key, tls.tls_ca)
