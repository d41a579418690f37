"""Development certificates: chain, URIs, names, files."""

import datetime as dt
import ipaddress
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store

from crossfade.cli.actions.certificates import PEOPLE, SERVICES, CertificateError, make_certificates
from services.common.identity import Role, certificate_principal

NOW = dt.datetime(2026, 1, 31, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("certs") / "tls"
    make_certificates(place, ["router", "10.0.0.7", "router"], NOW)
    return place


def _load(folder: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes())


def _uris(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)


@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize("host", ["localhost", "router", "127.0.0.1", "::1", "10.0.0.7"])
def test_servers_are_verified_under_every_name(folder: Path, name: str, host: str) -> None:
    store = Store([_load(folder, "ca")])
    try:
        subject: x509.DNSName | x509.IPAddress = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        subject = x509.DNSName(host)
    verifier = PolicyBuilder().store(store).time(NOW).build_server_verifier(subject)
    chain = verifier.verify(_load(folder, name), [])
    assert len(chain) == 2


@pytest.mark.parametrize("name", [*SERVICES, *PEOPLE])
def test_callers_are_verified_and_say_who_they_are(folder: Path, name: str) -> None:
    certificate = _load(folder, name)
    verifier = PolicyBuilder().store(Store([_load(folder, "ca")])).time(NOW).build_client_verifier()
    assert verifier.verify(certificate, []).chain[0] == certificate
    assert _uris(certificate) == [f"spiffe://crossfade/{name}/{name}"]


@pytest.mark.parametrize("name", [name for name in (*SERVICES, *PEOPLE) if name in set(Role)])
def test_the_services_read_the_role(folder: Path, name: str) -> None:
    assert certificate_principal(_uris(_load(folder, name))).roles == {Role(name)}


def test_people_cannot_pose_as_servers(folder: Path) -> None:
    for name in PEOPLE:
        usage = _load(folder, name).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_each_key_belongs_to_its_certificate_and_to_its_owner_alone(folder: Path) -> None:
    spki = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for name in ("ca", *SERVICES, *PEOPLE):
        file = folder / f"{name}.key"
        key = serialization.load_pem_private_key(file.read_bytes(), None)
        assert key.public_key().public_bytes(*spki) == _load(folder, name).public_key().public_bytes(*spki)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("mine")
    with pytest.raises(CertificateError, match=r"ca\.pem already, and certificates are never overwritten"):
        make_certificates(tmp_path, [], NOW)
    assert [file.name for file in tmp_path.iterdir()] == ["ca.pem"]
    assert (tmp_path / "ca.pem").read_text() == "mine"


def test_a_host_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match="neither a host name nor an IP address"):
        make_certificates(tmp_path / "tls", ["not a host"], NOW)
    assert not (tmp_path / "tls").exists()
