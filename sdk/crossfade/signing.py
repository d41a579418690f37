"""Signatures of artifacts, in the format of OpenSSF Model Signing (OMS) 1.0, with an elliptic-curve key of one's own.

A signature is a file beside the artifact's others, `model.sig`: a Sigstore bundle whose signed statement lists every
file with its SHA-256. It is no part of the artifact's digest, so that an artifact can be signed, or signed anew, after
it was published. Needs the extra `crossfade[sign]`.

Source: https://github.com/ossf/model-signing-spec.
"""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from crossfade.key_files import private_pem, write_new
from crossfade.manifest import MANIFEST_FILE, SIGNATURE_FILE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

_CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")
_PRIVATE_KEY: Final = b"PRIVATE KEY-----"
"""What a file of one has, in PEM, whatever its format."""
_MAKES_KEY: Final = "`crossfade certs signing` makes a key"
_MISSING: Final = "signatures need more packages: pip install 'crossfade[sign]'"


class SigningError(Exception):
    """An artifact cannot be signed, or its signature does not hold; the message says why."""


class UntrustedError(SigningError):
    """A signature that none of the keys has made, or of something else."""


def make_signing_key(private: Path, public: Path) -> None:
    """Makes a key pair (P-256) that signs artifacts: the private key for this user's eyes alone.

    Args:
        private: the file to be written, PEM (PKCS #8), not encrypted.
        public: the file to be written, PEM; Workers are given it.

    Raises:
        SigningError: a file is there already, or cannot be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    shown = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for file, content, mode in ((private, private_pem(key), 0o600), (public, shown, 0o644)):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SigningError(f"{file.parent} cannot be made a folder: {error.strerror}") from error
        try:
            write_new(file, content, mode)
        except FileExistsError as error:
            raise SigningError(f"{file} is there already, and keys are never overwritten") from error
        except OSError as error:
            raise SigningError(f"{file} cannot be written: {error.strerror}") from error


def check_public_key(file: Path) -> "ec.EllipticCurvePublicKey":
    """The key of a PEM file.

    Raises:
        SigningError: it is no public key that signatures can be checked with.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key = serialization.load_pem_public_key(file.read_bytes())
    except OSError as error:
        raise SigningError(f"{file} cannot be read: {error.strerror}") from error
    except Exception as error:
        raise SigningError(f"{file} is no public key in PEM: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise SigningError(f"{file} holds another kind of key: P-256, P-384 and P-521 sign artifacts")
    return key


def sign_artifact(folder: Path, key: Path, password: str | None = None) -> Path:
    """Signs an artifact: writes `model.sig` into its folder, in place of one that is there.

    Args:
        folder: the artifact.
        key: file of the private key, PEM; P-256, P-384 or P-521.
        password: of an encrypted key.

    Returns:
        The signature's file.

    Raises:
        SigningError: the folder holds no artifact, or the key cannot be used.
    """
    try:
        from model_signing import hashing, signing
    except ImportError as error:
        raise SigningError(f"{_MISSING} ({error})") from error
    if not (folder / MANIFEST_FILE).is_file():
        raise SigningError(f"{folder} has no {MANIFEST_FILE}: sign the folder that `crossfade package` has made")
    try:
        is_key = _PRIVATE_KEY in key.read_bytes()
    except OSError as error:
        raise SigningError(f"{key} cannot be read: {error.strerror}; {_MAKES_KEY}") from error
    if not is_key:
        raise SigningError(f"{key} is no private key in PEM; {_MAKES_KEY}")
    target, temporary = folder / SIGNATURE_FILE, folder / f".{SIGNATURE_FILE}"
    left_out = [SIGNATURE_FILE, temporary.name]
    what = hashing.Config().set_ignored_paths(paths=left_out, ignore_git_paths=False)  # type: ignore[no-untyped-call]
    try:
        config = signing.Config().set_hashing_config(what)  # type: ignore[no-untyped-call]
        # Theirs is annotated as text and hands the key's library what it takes for bytes.
        secret = None if password is None else password.encode()
        config.use_elliptic_key_signer(private_key=key, password=secret).sign(folder, temporary)  # type: ignore[arg-type]
        temporary.replace(target)
    except Exception as error:
        temporary.unlink(missing_ok=True)
        raise SigningError(f"{folder} cannot be signed with {key}: {error}") from error
    return target


def verify_artifact(folder: Path, keys: Sequence[Path], signature: Path | None = None) -> Path:
    """Which of the keys has signed an artifact as it lies there.

    Args:
        folder: the artifact.
        keys: files of public keys, PEM; one that cannot be used is passed over.
        signature: its file; None: the one in the folder.

    Returns:
        The key.

    Raises:
        UntrustedError: none of them has, or it has signed something else.
        SigningError: there is no signature, no key can be used, or something cannot be read.
    """
    try:
        from model_signing import verifying
    except ImportError as error:
        raise SigningError(f"{_MISSING} ({error})") from error
    signature = signature or folder / SIGNATURE_FILE
    if not signature.is_file():
        raise SigningError(f"{folder} has no {SIGNATURE_FILE}: sign it with `crossfade sign`")
    reasons, unusable = [], []
    for key in keys:
        try:
            check_public_key(key)
        except SigningError as error:
            unusable.append(str(error))
            continue
        try:
            config = verifying.Config().use_elliptic_key_verifier(public_key=key)  # type: ignore[no-untyped-call]
            config.verify(folder, signature)
            _check_statement(folder, signature)
        except (OSError, MemoryError) as error:
            raise SigningError(f"{folder} cannot be checked: {error}") from error
        except Exception as error:  # noqa: BLE001 - whatever a forged file makes of the library
            reasons.append(f"{key.name}: {_reason(error)}")
        else:
            return key
    if not reasons:
        raise SigningError(f"no public key can be used: {'; '.join(unusable) or 'there is none'}")
    raise UntrustedError(f"{SIGNATURE_FILE} is by no trusted key, or of other files ({'; '.join(reasons)})")


def _reason(error: Exception) -> str:
    """Why a signature does not hold, in fewer words than the library's, which show the digests' bytes."""
    text = str(error).strip()
    altered = re.findall(r"Hash mismatch for \\?'([^'\\]+)", text)
    if altered:
        return f"it signs other contents of {', '.join(altered)}"
    if text.startswith("Key mismatch"):
        return "it is by another key"
    return text or type(error).__name__


def _check_statement(folder: Path, signature: Path) -> None:
    """A signature may leave files out; the manifest, which fixes all others, it may not."""
    envelope = json.loads(signature.read_bytes())["dsseEnvelope"]
    statement = json.loads(base64.b64decode(envelope["payload"]))
    signed = {one["name"]: one["digest"] for one in statement["predicate"]["resources"]}
    if signed.get(MANIFEST_FILE) != hashlib.sha256((folder / MANIFEST_FILE).read_bytes()).hexdigest():
        raise UntrustedError(f"{SIGNATURE_FILE} does not sign {MANIFEST_FILE}, which says what the artifact is")
