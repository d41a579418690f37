"""Files of keys and certificates, as they are made: never over another, and private ones for their owner's eyes."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec


def private_pem(key: "ec.EllipticCurvePrivateKey") -> bytes:
    """A private key as PEM (PKCS #8), not encrypted."""
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def write_new(file: Path, content: bytes, mode: int) -> None:
    """Makes a file that only this process has ever been able to see with another mode.

    Raises:
        FileExistsError: it is there already.
        OSError: it cannot be written.
    """
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content)
