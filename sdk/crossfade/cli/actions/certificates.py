"""A certificate authority and certificates for trying mutual TLS: one per service and one per role.

Who a certificate is for stands in its URI (SPIFFE ID, `spiffe://crossfade/ROLE/NAME`), as the services read it.
"""

import datetime as dt
import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from crossfade.key_files import private_pem, write_new

SERVICES: Final = ("registry", "router", "worker", "evaluator")
"""They serve, and call one another."""
PEOPLE: Final = ("operator", "publisher", "viewer", "client", "tester", "feedback")
"""They only call."""
TRUST_DOMAIN: Final = "crossfade"
VALID_DAYS: Final = 365

_HOST = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})?)*\Z")
_CLOCK_SKEW = dt.timedelta(minutes=5)


class CertificateError(Exception):
    """The certificates cannot be made; the message says what to do."""


class HostError(CertificateError):
    """A server's host is none."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def make_certificates(folder: Path, hosts: Sequence[str], now: dt.datetime) -> list[Path]:
    """Writes `ca.pem`, `ca.key`, and `NAME.pem`, `NAME.key` for every service and role; answers the files.

    Args:
        folder: made if there is none.
        hosts: names and addresses of the servers besides localhost, 127.0.0.1 and ::1.
        now: when they begin to be valid.

    Raises:
        HostError: a host is no name.
        CertificateError: a file exists already, or the folder cannot be written.
    """
    names = _names(hosts)
    stems = ("ca", *SERVICES, *PEOPLE)
    files = [folder / f"{stem}{suffix}" for stem in stems for suffix in (".pem", ".key")]
    existing = [file.name for file in files if file.exists()]
    if existing:
        raise CertificateError(
            f"{folder} has {', '.join(existing)} already, and certificates are never overwritten: "
            "choose another folder, or remove them"
        )
    authority = _authority(now)
    pairs = {"ca": authority}
    for name in (*SERVICES, *PEOPLE):
        pairs[name] = _issue(authority, name, names if name in SERVICES else (), now)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, pair in pairs.items():
            write_new(folder / f"{name}.pem", pair.certificate.public_bytes(serialization.Encoding.PEM), 0o644)
            write_new(folder / f"{name}.key", private_pem(pair.key), 0o600)
    except OSError as error:
        raise CertificateError(f"{error.filename or folder} cannot be written: {error.strerror}") from error
    return files


def _names(hosts: Iterable[str]) -> tuple[x509.GeneralName, ...]:
    names: list[x509.GeneralName] = [x509.DNSName("localhost")]
    for host in ("127.0.0.1", "::1", *hosts):
        try:
            name: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError as error:
            if not _HOST.match(host):
                raise HostError(f"{host!r} is neither a host name nor an IP address") from error
            name = x509.DNSName(host)
        if name not in names:
            names.append(name)
    return tuple(names)


def _authority(now: dt.datetime) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _subject("Crossfade development CA")
    certificate = (
        _builder(name, name, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Pair(certificate, key)


def _issue(authority: Pair, role: str, hosts: tuple[x509.GeneralName, ...], now: dt.datetime) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    uri = x509.UniformResourceIdentifier(f"spiffe://{TRUST_DOMAIN}/{role}/{role}")
    purposes = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])]
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    certificate = (
        _builder(_subject(role), authority.certificate.subject, key.public_key(), now)
        .add_extension(x509.SubjectAlternativeName([uri, *hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(issuer, critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return Pair(certificate, key)


def _subject(name: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Crossfade"), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + dt.timedelta(days=VALID_DAYS))
    )


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
