"""How users reach the services: addresses, TLS files and names, from arguments or the environment."""

import getpass
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

MESSAGE_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of the largest message, in and out."""

OPTIONS: Final = (
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    # A refused connection is tried again soon. One that is only slow has the 20 s of gRPC's default, more than a call:
    # `min_reconnect_backoff_ms` is no backoff but the least time that an attempt to connect is given.
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
)

USER_KEY: Final = "x-crossfade-user"
"""Metadata key by which a caller of a local trial says its name."""

_OTHER_TARGETS: Final = re.compile(r"(?:dns|ipv4|ipv6|unix|unix-abstract|vsock|xds):\D")
"""How gRPC's targets of other kinds begin, as in unix:PATH and xds:///MODEL."""


class TlsFileError(ValueError):
    """A file is not what it is to be.

    Args:
        file: which.
        reason: what is wrong with it.
    """

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"{file} {reason}")
        self.file = file


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
        certificate, key, ca = self.contents()
        return grpc.ssl_channel_credentials(ca, key, certificate)

    def contents(self) -> tuple[bytes, bytes, bytes]:
        """Certificate, key and CA, which belong together.

        gRPC takes any files, and then says of every call that nothing answers.

        Raises:
            OSError: a file cannot be read.
            TlsFileError: one is not what it is to be.
        """
        certificate, key, ca = (file.read_bytes() for file in (self.certificate, self.key, self.ca))
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
        return certificate, key, ca


def checked_address(value: str, example: str) -> str:
    """Answers a value that can be host:port, or another target that gRPC knows.

    gRPC takes any text: without a port it tries 443, and of a URL it says that nothing answers.

    Args:
        value: what the user wrote.
        example: an address as it should be.

    Raises:
        ValueError: it cannot.
    """
    host, colon, port = value.rpartition(":")
    fits = host and "/" not in host and colon and port.isdigit() and 0 < int(port) < 65_536
    if not (fits or _OTHER_TARGETS.match(value)):
        raise ValueError(f"{value!r} is not an address: write HOST:PORT, as in {example}")
    return value


def open_channel(address: str, tls: TlsFiles | None) -> grpc.Channel:
    """A channel to host:port."""
    if tls is None:
        return grpc.insecure_channel(address, options=OPTIONS)
    return grpc.secure_channel(address, tls.credentials(), options=OPTIONS)


def open_aio_channel(address: str, tls: TlsFiles | None) -> grpc.aio.Channel:
    """A channel to host:port for asyncio."""
    if tls is None:
        return grpc.aio.insecure_channel(address, options=OPTIONS)
    return grpc.aio.secure_channel(address, tls.credentials(), options=OPTIONS)


def local_user() -> str:
    """The name that a local trial writes into its events."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        return "user"
    # gRPC metadata holds printable ASCII only.
    return name.encode("ascii", "replace").decode()
