"""A certificate that nobody would take is said where its file is read, and not by every call."""

import datetime as dt
import math
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path, PosixPath

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from crossfade.cli.actions.certificates import VALID_DAYS, make_certificates
from crossfade.connection import TlsFiles
from crossfade.key_files import private_pem
from crossfade.tls_check import TlsFileError

DAY = 86_400.0
NOW = dt.datetime.now(dt.UTC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tls")
    make_certificates(made / "ours", [], NOW)
    make_certificates(made / "foreign", [], NOW)
    return made


@pytest.mark.parametrize("who", ["router", "client"])
def test_a_certificate_says_when_it_ends(folder: Path, who: str) -> None:
    files = TlsFiles(folder / "ours" / f"{who}.pem", folder / "ours" / f"{who}.key", folder / "ours" / "ca.pem")
    assert files.contents().ends == pytest.approx(NOW.timestamp() + VALID_DAYS * DAY, abs=2)


@pytest.mark.parametrize("who", ["router", "client"])
def test_an_expired_certificate_is_refused_with_its_file(folder: Path, who: str) -> None:
    files = TlsFiles(folder / "ours" / f"{who}.pem", folder / "ours" / f"{who}.key", folder / "ours" / "ca.pem")
    end = NOW + dt.timedelta(days=VALID_DAYS)
    with pytest.raises(TlsFileError, match=rf"{who}\.pem has expired on {end:%Y-%m-%d}") as refused:
        files.contents(NOW.timestamp() + (VALID_DAYS + 1) * DAY)
    assert refused.value.file == files.certificate
    with pytest.raises(TlsFileError, match=rf"{who}\.pem is valid from .* see this machine's clock"):
        files.contents(NOW.timestamp() - DAY)


@pytest.mark.parametrize("who", ["router", "client"])
def test_a_certificate_of_another_ca_is_refused_with_its_file_where_one_is_meant(folder: Path, who: str) -> None:
    ca = folder / "foreign" / "ca.pem"
    files = TlsFiles(folder / "ours" / f"{who}.pem", folder / "ours" / f"{who}.key", ca)
    with pytest.raises(TlsFileError, match=rf"{who}\.pem is not signed by the CA in {ca}"):
        files.contents(one_ca=True)


def test_a_caller_may_be_of_another_ca_than_servers_and_its_days_are_seen(folder: Path) -> None:
    files = TlsFiles(folder / "ours" / "client.pem", folder / "ours" / "client.key", folder / "foreign" / "ca.pem")
    assert files.contents().ends == pytest.approx(NOW.timestamp() + VALID_DAYS * DAY, abs=2)
    with pytest.raises(TlsFileError, match=r"client\.pem has expired on "):
        files.contents(NOW.timestamp() + (VALID_DAYS + 1) * DAY)


def test_of_several_cas_one_is_enough(folder: Path, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes((folder / "foreign" / "ca.pem").read_bytes() + (folder / "ours" / "ca.pem").read_bytes())
    files = TlsFiles(folder / "ours" / "router.pem", folder / "ours" / "router.key", both)
    assert files.contents(one_ca=True).ends < math.inf


class Watched(PosixPath):
    """A file that somebody does something to when it is opened for the nth time."""

    left = 0
    act: Callable[[], object]

    @staticmethod
    def at(path: Path, number: int, act: Callable[[], object]) -> "Watched":
        watched = Watched(path)
        watched.left, watched.act = number, act
        return watched

    def __fspath__(self) -> str:
        self.left -= 1
        if self.left == 0:
            self.act()
        return super().__fspath__()


OPENINGS = range(1, 8)
"""Read, loaded, shown twice with both its ends, and read again: more than there are."""


@pytest.mark.parametrize("number", OPENINGS)
@pytest.mark.parametrize("gone", [False, True])
def test_files_that_are_exchanged_amid_the_reading_are_refused_with_their_file(
    folder: Path, tmp_path: Path, number: int, gone: bool
) -> None:
    for name in ("client.pem", "client.key"):
        shutil.copy(folder / "ours" / name, tmp_path / name)
    key = tmp_path / "client.key"

    def act() -> None:
        key.unlink()
        if not gone:
            shutil.copy(folder / "ours" / "router.key", key)

    certificate = Watched.at(tmp_path / "client.pem", number, act)
    files = TlsFiles(certificate, key, folder / "ours" / "ca.pem")
    try:
        contents = files.contents()
    except TlsFileError as error:
        assert error.file in {certificate, key}
    except OSError as error:
        assert error.filename == str(key)
    else:
        assert key.exists(), "what is gone was used"
        assert contents.key == (folder / "ours" / "client.key").read_bytes()


def test_a_curve_that_tls_does_not_know_is_refused_with_its_file(tmp_path: Path) -> None:
    issuer = Issuer()
    key = ec.generate_private_key(ec.SECP256K1())
    files = issuer.files(tmp_path, issuer, ExtendedKeyUsageOID.CLIENT_AUTH, key=key)
    with pytest.raises(TlsFileError, match=r"leaf\.pem makes no connection"):
        files.contents()


class Issuer:
    """Issues what `crossfade certs dev` does not."""

    def __init__(self, days: float = 100.0, above: "Issuer | None" = None, name: str = "ca") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        self.certificate = (above or self).sign(self.name, self.key, days, [(constraints, True)])

    def sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        days: float,
        extensions: Sequence[tuple[x509.ExtensionType, bool]],
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateBuilder(self.name, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - dt.timedelta(days=200)).not_valid_after(now + dt.timedelta(days=days))
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, hashes.SHA256())

    def files(
        self,
        folder: Path,
        ca: "Issuer",
        usage: x509.ObjectIdentifier,
        chain: "Sequence[Issuer]" = (),
        key: ec.EllipticCurvePrivateKey | None = None,
    ) -> TlsFiles:
        """The files of one that this one has signed."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf")])
        leaf = self.sign(name, key, 50.0, [(x509.ExtendedKeyUsage([usage]), False)])
        pem = serialization.Encoding.PEM
        shown = [leaf, *(one.certificate for one in chain)]
        (folder / "leaf.pem").write_bytes(b"".join(one.public_bytes(pem) for one in shown))
        (folder / "leaf.key").write_bytes(private_pem(key))
        (folder / "ca.pem").write_bytes(ca.certificate.public_bytes(pem))
        return TlsFiles(folder / "leaf.pem", folder / "leaf.key", folder / "ca.pem")


@pytest.mark.parametrize("usage", [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
def test_one_purpose_is_enough(tmp_path: Path, usage: x509.ObjectIdentifier) -> None:
    issuer = Issuer()
    other = tmp_path / "other"
    other.mkdir()
    for files in (issuer.files(tmp_path, issuer, usage), issuer.files(other, Issuer(name="other"), usage)):
        assert files.contents().ends == pytest.approx(time.time() + 50 * DAY, abs=60)


def test_what_lies_between_is_believed_by_itself_and_in_the_chain(tmp_path: Path) -> None:
    """As gRPC believes it."""
    root = Issuer(name="root")
    between = Issuer(above=root, name="between")
    for ca, chain in ((between, ()), (root, (between,))):
        files = between.files(tmp_path, ca, ExtendedKeyUsageOID.CLIENT_AUTH, chain)
        assert files.contents(one_ca=True).ends < math.inf
    with pytest.raises(TlsFileError, match="is not signed by the CA"):
        between.files(tmp_path, root, ExtendedKeyUsageOID.CLIENT_AUTH).contents(one_ca=True)


def test_an_expired_ca_is_refused_with_its_file(tmp_path: Path) -> None:
    issuer = Issuer(days=-1.0)
    with pytest.raises(TlsFileError, match=r"ca\.pem has expired") as refused:
        issuer.files(tmp_path, issuer, ExtendedKeyUsageOID.CLIENT_AUTH).contents()
    assert refused.value.file == tmp_path / "ca.pem"
