"""How users reach the services: addresses, TLS files and names, from arguments or the environment."""

import getpass
import math
import os
import re
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import grpc

from crossfade.hosts import host_and_port, no_address
from crossfade.proxies import proxy_options
from crossfade.tls_check import TlsFileError, check_certificate

MESSAGE_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of the largest message, in and out."""

OPTIONS: Final = (
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    # A refused connection is tried again soon. One that is only slow has the 20 s of gRPC's default, more than a call:
    # `min_reconnect_backoff_ms` is no backoff but the least time that an attempt to connect is given.
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    # The timeout is also what TCP waits for an acknowledgement (TCP_USER_TIMEOUT). Without it a machine that is gone
    # keeps all calls for a quarter of an hour, although its name has other addresses.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 5_000),
)

EACH_IN_TURN: Final = ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}')
"""Of replicas under one name. By default all calls go to one of them for as long as its connection stands, and a
Registry whose database is out of its reach keeps the connection, as does a Router that has no routes."""

USER_KEY: Final = "x-crossfade-user"
"""Metadata key by which a caller of a local trial says its name."""

_OTHER_TARGETS: Final = re.compile(r"(?:ipv4|ipv6|unix|unix-abstract|vsock|xds|google-c2p):|dns:\D")
"""How gRPC's targets of other kinds begin, as in unix:PATH and xds:///MODEL."""


Stamp: TypeAlias = tuple[tuple[int, int, int], ...]
"""Differs when files do: of each when it was written, which it is, and its bytes; empty: one is not there."""


def stamp_of(files: Iterable[Path]) -> Stamp:
    """How files stand, in their order."""
    try:
        found = [file.stat() for file in files]
    except OSError:
        return ()
    return tuple((one.st_mtime_ns, one.st_ino, one.st_size) for one in found)


@dataclass(frozen=True, slots=True)
class TlsContents:
    """What the files of mutual TLS hold, in PEM; they belong together.

    Attributes:
        certificate: the chain.
        key: its private key.
        ca: certificates that peers are checked against.
        ends: when the certificate does, in seconds since 1970-01-01 UTC; infinity: that is not known.
    """

    certificate: bytes
    key: bytes = field(repr=False)
    ca: bytes
    ends: float = math.inf

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """The client's side of mutual TLS."""
        return grpc.ssl_channel_credentials(self.ca, self.key, self.certificate)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of mutual TLS.

    Attributes:
        certificate: the caller's chain; its URI says who it is and which roles it has.
        key: its private key.
        ca: certificates that the servers are checked against.
    """

    certificate: Path
    key: Path
    ca: Path

    @staticmethod
    def from_environment(environment: Mapping[str, str] = os.environ) -> "TlsFiles | None":
        """The files named by CROSSFADE_TLS_CERTIFICATE, CROSSFADE_TLS_KEY and CROSSFADE_TLS_CA; None: none is.

        Raises:
            ValueError: some are named, but not all.
        """
        names = ("CROSSFADE_TLS_CERTIFICATE", "CROSSFADE_TLS_KEY", "CROSSFADE_TLS_CA")
        files = [environment.get(name, "") for name in names]
        if not any(files):
            return None
        if not all(files):
            raise ValueError(f"set {', '.join(names)} together, or none of them")
        return TlsFiles(*map(Path, files))

    def credentials(self) -> grpc.ChannelCredentials:
        """The client's side of mutual TLS.

        Raises:
            OSError: a file cannot be read.
            TlsFileError: one is not what it is to be.
        """
        return self.contents().channel_credentials()

    def contents(self, now: float | None = None, *, one_ca: bool = False) -> TlsContents:
        """What they hold.

        gRPC takes any files, and then says of every call that nothing answers.

        Args:
            now: seconds since 1970-01-01 UTC. Default: the system's.
            one_ca: whether the certificate is to be of a CA in `ca`. Services are known to each other by one file of
                CAs; of a caller's certificate only the server can say which it takes.

        Raises:
            OSError: a file cannot be read; it says which.
            TlsFileError: one is not what it is to be, has expired, is being replaced, or is of another CA where it is
                to be of this one.
        """
        read = self._read()
        try:
            ends = self._check(read, time.time() if now is None else now, one_ca=one_ca)
        except ssl.SSLError as error:
            # Others may have been put there since they were found to belong together.
            raise TlsFileError(
                self.certificate, f"makes no connection, or is being replaced at this moment ({error.reason})"
            ) from error
        except OSError as error:
            # They were there to be read.
            raise self._replaced() from error
        if self._read() != read:
            # What was looked at is not what would be used.
            raise self._replaced()
        return TlsContents(*read, ends)

    def stamp(self) -> Stamp:
        """How they stand."""
        return stamp_of((self.certificate, self.key, self.ca))

    def _replaced(self) -> TlsFileError:
        return TlsFileError(self.certificate, "or what belongs to it is being replaced: try again")

    def _read(self) -> tuple[bytes, bytes, bytes]:
        return self.certificate.read_bytes(), self.key.read_bytes(), self.ca.read_bytes()

    def _check(self, read: tuple[bytes, bytes, bytes], now: float, *, one_ca: bool) -> float:
        """Answers when the certificate ends."""
        certificate, key, ca = read
        for file, content, mark, what in (
            (self.certificate, certificate, b"-----BEGIN CERTIFICATE-----", "certificate"),
            (self.key, key, b"PRIVATE KEY-----", "private key"),
            (self.ca, ca, b"-----BEGIN CERTIFICATE-----", "certificate"),
        ):
            if mark not in content:
                raise TlsFileError(file, f"holds no {what} in PEM form")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            # Without a password none is asked for on the terminal.
            context.load_cert_chain(self.certificate, self.key, password="")
        except ssl.SSLError as error:
            raise TlsFileError(
                self.key, f"is not the key of {self.certificate}, or is locked by a password ({error.reason})"
            ) from error
        try:
            context.load_verify_locations(self.ca)
        except ssl.SSLError as error:
            raise TlsFileError(self.ca, f"holds a certificate that cannot be read ({error.reason})") from error
        period = check_certificate(self.certificate, self.key, self.ca, now, one_ca=one_ca)
        return math.inf if period is None else period.ends


def checked_address(value: str, example: str) -> str:
    """Answers a value that can be host:port, or another target that gRPC knows.

    gRPC takes any text: without a port it tries 443, and of a URL it says that nothing answers.

    Args:
        value: what the user wrote.
        example: an address as it should be.

    Raises:
        ValueError: it cannot.
    """
    found = host_and_port(value)
    if not (found is not None and all(found)) and not _OTHER_TARGETS.match(value):
        raise ValueError(no_address(value, example))
    return value


def open_channel(address: str, tls: TlsFiles | TlsContents | None, *more: tuple[str, str]) -> grpc.Channel:
    """A channel to host:port, with more options."""
    options = (*_options(address), *more)
    if tls is None:
        return grpc.insecure_channel(address, options=options)
    return grpc.secure_channel(address, _credentials(tls), options=options)


def open_aio_channel(address: str, tls: TlsFiles | TlsContents | None, *more: tuple[str, str]) -> grpc.aio.Channel:
    """A channel to host:port for the running loop of asyncio, with more options."""
    options = (*_options(address), *more)
    if tls is None:
        return grpc.aio.insecure_channel(address, options=options)
    return grpc.aio.secure_channel(address, _credentials(tls), options=options)


def _options(address: str) -> tuple[tuple[str, int], ...]:
    return OPTIONS + proxy_options(address)


def _credentials(tls: TlsFiles | TlsContents) -> grpc.ChannelCredentials:
    return tls.channel_credentials() if isinstance(tls, TlsContents) else tls.credentials()


def local_user() -> str:
    """The name that a local trial writes into its events."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        return "user"
    # gRPC metadata holds printable ASCII only.
    return name.encode("ascii", "replace").decode()
