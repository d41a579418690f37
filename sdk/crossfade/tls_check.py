"""Whether a certificate is of today, and a service's of the CA that it stands beside: gRPC does not look, and says of
every call that nothing answers.

Sources: X.509 verification results and flags as OpenSSL numbers them (x509_vfy.h).
"""

import datetime as dt
import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_NO_CHECK_TIME: Final = 0x200000
_EXPIRED: Final = 10
_WRONG_PURPOSE: Final = 26
_OTHER_ISSUER: Final = frozenset({2, 7, 18, 19, 20, 21})
"""Issuer not found (2, 20), another signature (7), self-signed (18, 19), first certificate not verified (21)."""
_TURNS: Final = 8
"""More than a handshake in memory takes."""


class TlsFileError(ValueError):
    """A file is not what it is to be.

    Args:
        file: which.
        reason: what is wrong with it.
    """

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"{file} {reason}")
        self.file = file
        self._reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, as multiprocessing hands it to another process, it stays what it is."""
        return type(self), (self.file, self._reason)


@dataclass(frozen=True, slots=True)
class Period:
    """When a certificate is valid, in seconds since 1970-01-01 UTC."""

    begins: float
    ends: float


def check_certificate(certificate: Path, key: Path, ca: Path, now: float, *, one_ca: bool) -> Period | None:
    """Refuses a certificate that nobody would take.

    Args:
        certificate: PEM chain.
        key: its PEM private key; it has been found to be.
        ca: PEM certificates.
        now: seconds since 1970-01-01 UTC.
        one_ca: whether the certificate is to be of `ca`. False: servers may know their callers by another.

    Returns:
        When it is valid; None: that cannot be found out here, and is for gRPC to say.

    Raises:
        TlsFileError: it has expired, is not valid yet, or is not of this CA where it is to be; or the CA has expired.
        OSError: a file cannot be read; it does not say which.
        ssl.SSLError: a file cannot be used; see `TlsFiles.contents`, which looks first.
    """
    period, code = _period(certificate, key, ca, _NO_CHECK_TIME)
    if code in _OTHER_ISSUER:
        if one_ca:
            raise TlsFileError(certificate, f"is not signed by the CA in {ca}: name files of one CA")
        # Who believes the certificate itself sees its days without knowing who signed it.
        period, _ = _period(certificate, key, certificate, _NO_CHECK_TIME)
    if period is None:
        return None
    if now >= period.ends:
        raise TlsFileError(certificate, f"has expired on {_date(period.ends)}: it needs to be issued anew")
    if now < period.begins:
        raise TlsFileError(certificate, f"is valid from {_date(period.begins)} on: see this machine's clock")
    if _period(certificate, key, ca, 0)[1] == _EXPIRED:
        raise TlsFileError(ca, f"has expired, or a certificate between it and that in {certificate} has")
    return period


def _period(certificate: Path, key: Path, ca: Path, flags: int) -> tuple[Period | None, int]:
    """When the certificate is valid, and otherwise OpenSSL's number for what is wrong with it."""
    code = 0
    # One of a caller alone is none for a server, and the other way round; either is of the CA.
    for server_shows in (False, True):
        try:
            return _shown(certificate, key, ca, flags, server_shows=server_shows), 0
        except ssl.SSLCertVerificationError as error:
            code = error.verify_code
            if code != _WRONG_PURPOSE:
                break
    return None, code


def _shown(certificate: Path, key: Path, ca: Path, flags: int, *, server_shows: bool) -> Period:
    """Shows the certificate to somebody who believes the CA, in a handshake in memory."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    looks = client if server_shows else server
    looks.verify_mode = ssl.CERT_REQUIRED
    # As gRPC does: any certificate in the file is believed, not only self-signed ones.
    looks.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | flags
    looks.load_verify_locations(ca)
    for context in (server, client):
        context.load_cert_chain(certificate, key, password="")
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (client.wrap_bio(inward, outward), server.wrap_bio(outward, inward, server_side=True))
    for _ in range(_TURNS):
        for end in ends:
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    shown: dict[str, Any] = ends[0 if server_shows else 1].getpeercert() or {}
    return Period(*(float(ssl.cert_time_to_seconds(shown[name])) for name in ("notBefore", "notAfter")))


def _date(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
