"""Signatures hold for what was signed, by whom, and for nothing else."""

import base64
import json
import re
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from model_signing import hashing, signing

from crossfade.manifest import MANIFEST_FILE, SIGNATURE_FILE
from crossfade.signing import (
    SigningError,
    UntrustedError,
    check_public_key,
    make_signing_key,
    sign_artifact,
    verify_artifact,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What looks like an artifact."""
    made = tmp_path / "artifact"
    made.mkdir()
    (made / MANIFEST_FILE).write_text('{"says": "what it is"}')
    (made / "program.pt2").write_bytes(b"program" * 1000)
    return made


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """A private key and its public one."""
    pair = tmp_path / "ours.key", tmp_path / "ours.pem"
    make_signing_key(*pair)
    return pair


def test_who_has_signed_it(folder: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    private, public = keys
    others = tmp_path / "others.key", tmp_path / "others.pem"
    make_signing_key(*others)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert sign_artifact(folder, private) == folder / SIGNATURE_FILE
    assert verify_artifact(folder, [others[1], public]) == public
    with pytest.raises(UntrustedError, match=r"by no trusted key.*others.pem: it is by another key"):
        verify_artifact(folder, [others[1]])
    # Signed anew, beside the signature that is there.
    sign_artifact(folder, others[0])
    assert verify_artifact(folder, [others[1], public]) == others[1]
    assert sorted(path.name for path in folder.iterdir()) == [MANIFEST_FILE, SIGNATURE_FILE, "program.pt2"]


def test_it_holds_wherever_the_folder_is(folder: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    sign_artifact(folder, keys[0])
    moved = folder.rename(tmp_path / "elsewhere")
    assert verify_artifact(moved, [keys[1]]) == keys[1]


@pytest.mark.parametrize("name", [MANIFEST_FILE, "program.pt2"])
def test_what_was_altered_is_named(folder: Path, keys: tuple[Path, Path], name: str) -> None:
    sign_artifact(folder, keys[0])
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:-1] + b"?")
    with pytest.raises(UntrustedError, match=f"it signs other contents of {name}"):
        verify_artifact(folder, [keys[1]])


def test_what_came_or_went_is_named(folder: Path, keys: tuple[Path, Path]) -> None:
    sign_artifact(folder, keys[0])
    (folder / "more.bin").write_bytes(b"?")
    with pytest.raises(UntrustedError, match=r"Extra files.*more.bin"):
        verify_artifact(folder, [keys[1]])
    (folder / "more.bin").unlink()
    (folder / "program.pt2").unlink()
    with pytest.raises(UntrustedError, match=r"Missing files.*program.pt2"):
        verify_artifact(folder, [keys[1]])


def test_a_signature_that_leaves_the_manifest_out_is_none(folder: Path, keys: tuple[Path, Path]) -> None:
    left_out = [MANIFEST_FILE, SIGNATURE_FILE]
    ignored = hashing.Config().set_ignored_paths(paths=left_out)  # type: ignore[no-untyped-call]
    config = signing.Config().set_hashing_config(ignored)  # type: ignore[no-untyped-call]
    config.use_elliptic_key_signer(private_key=keys[0]).sign(folder, folder / SIGNATURE_FILE)
    with pytest.raises(UntrustedError, match=r"does not sign model\.json"):
        verify_artifact(folder, [keys[1]])


def test_a_statement_that_was_changed_after_it_was_signed(folder: Path, keys: tuple[Path, Path]) -> None:
    signature = sign_artifact(folder, keys[0])
    bundle = json.loads(signature.read_text())
    statement = base64.b64decode(bundle["dsseEnvelope"]["payload"]).replace(b"program.pt2", b"programs.pt2")
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(statement).decode()
    signature.write_text(json.dumps(bundle))
    (folder / "program.pt2").rename(folder / "programs.pt2")
    with pytest.raises(UntrustedError):
        verify_artifact(folder, [keys[1]])


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"dsseEnvelope": {}}', "\x00\xff", '{"mediaType": 1}'])
def test_what_is_no_signature_at_all(folder: Path, keys: tuple[Path, Path], text: str) -> None:
    (folder / SIGNATURE_FILE).write_text(text)
    with pytest.raises(UntrustedError):
        verify_artifact(folder, [keys[1]])


def test_what_is_not_there_is_said(folder: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(SigningError, match=r"no model\.sig: sign it"):
        verify_artifact(folder, [keys[1]])
    with pytest.raises(SigningError, match=r"no model.json: sign the folder"):
        sign_artifact(tmp_path, keys[0])
    with pytest.raises(
        SigningError, match=r"none.key cannot be read: No such file or directory; `crossfade certs signing` makes a key"
    ):
        sign_artifact(folder, tmp_path / "none.key")
    with pytest.raises(SigningError, match="there already"):
        make_signing_key(*keys)
    within_a_file = keys[0] / "a.key"
    with pytest.raises(SigningError, match=f"^{re.escape(str(keys[0]))} cannot be made a folder: File exists"):
        make_signing_key(within_a_file, within_a_file.with_suffix(".pem"))


def test_an_encrypted_key(folder: Path, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    secret = serialization.BestAvailableEncryption(b"hush")
    private, public = tmp_path / "p384.key", tmp_path / "p384.pem"
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret))
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(SigningError, match="cannot be signed"):
        sign_artifact(folder, private)
    assert not (folder / SIGNATURE_FILE).exists()
    sign_artifact(folder, private, "hush")
    assert verify_artifact(folder, [public]) == public


def test_keys_that_sign_no_artifacts(keys: tuple[Path, Path], tmp_path: Path) -> None:
    other = ed25519.Ed25519PrivateKey.generate().public_key()
    shape = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "edwards.pem").write_bytes(other.public_bytes(*shape))
    for name, words in (
        ("edwards.pem", "another kind of key"),
        ("none.pem", "cannot be read"),
        ("ours.key", "no public"),
    ):
        with pytest.raises(SigningError, match=words):
            check_public_key(tmp_path / name)
