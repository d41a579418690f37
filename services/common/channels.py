"""Channels to other services: one set of options, TLS when the settings ask for it."""

from pathlib import Path
from typing import Final

import grpc
from grpc import aio

from crossfade.connection import MESSAGE_LIMIT, TlsContents, TlsFiles
from crossfade.tls_check import TlsFileError
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
)


def open_channel(address: str, tls: TlsSettings) -> aio.Channel:
    """Opens a channel to host:port."""
    if tls.tls:
        return aio.secure_channel(address, channel_credentials(tls), options=OPTIONS)
    return aio.insecure_channel(address, options=OPTIONS)


def channel_credentials(tls: TlsSettings) -> grpc.ChannelCredentials:
    """The client's side of mutual TLS.

    Raises:
        ValueError: there are none, or one cannot be read or is not what it is to be.
    """
    contents = tls_contents(tls)
    return grpc.ssl_channel_credentials(contents.ca, contents.key, contents.certificate)


def tls_contents(tls: TlsSettings) -> TlsContents:
    """What the files hold.

    Raises:
        ValueError: there are none, or one cannot be read or is not what it is to be; the message names the setting too.
    """
    try:
        return _files(tls).contents(one_ca=True)
    except OSError as error:
        raise unreadable(_setting(tls, error.filename), error.filename, error) from error
    except TlsFileError as error:
        raise ValueError(f"{_setting(tls, error.file)}: {error}") from error


def _setting(tls: TlsSettings, file: Path | str) -> str:
    """The variable that names a file."""
    names = ("tls_certificate", "tls_key", "tls_ca")
    return "CROSSFADE_" + next((name for name in names if getattr(tls, name) == Path(file)), "tls").upper()


def _files(tls: TlsSettings) -> TlsFiles:
    if tls.tls_ca is None or tls.tls_key is None or tls.tls_certificate is None:
        raise ValueError("no TLS files are set")
    return TlsFiles(tls.tls_certificate, tls.tls_key, tls.tls_ca)
