"""Which artifacts may be loaded here: those that a trusted key has signed."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from crossfade.manifest import SIGNATURE_FILE
from crossfade.signing import SigningError, UntrustedError, check_public_key, verify_artifact
from services.worker.domain import LoadError

Fetch = Callable[[], bytes | None]
"""Brings the signature from where the artifact was published; None: there is none."""


class Trust:
    """Keys that are trusted.

    Args:
        keys: a public key in PEM, or a folder of such, `*.pem`.

    Raises:
        ValueError: there is none, or one cannot be used.
    """

    def __init__(self, keys: Path) -> None:
        self._keys = sorted(keys.glob("*.pem")) if keys.is_dir() else [keys]
        if not self._keys:
            raise ValueError(f"CROSSFADE_TRUSTED_KEYS: {keys} has no file *.pem")
        try:
            for key in self._keys:
                check_public_key(key)
        except SigningError as error:
            raise ValueError(f"CROSSFADE_TRUSTED_KEYS: {error}") from error

    def check(self, folder: Path, uri: str, fetch: Fetch) -> None:
        """Refuses an artifact that none of the keys has signed.

        Args:
            folder: where its files lie, as its digest says; the signature comes to them.
            uri: where it was published.
            fetch: asked where the signature that lies there does not hold: it may be a new one, or of a new key.

        Raises:
            LoadError: it is not signed, which may come; or by another key, or something else is.
        """
        if (folder / SIGNATURE_FILE).is_file():
            try:
                verify_artifact(folder, self._keys)
            except UntrustedError:
                pass
            else:
                return
        data = fetch()
        if data is None:
            raise LoadError(
                f"{uri} has no {SIGNATURE_FILE}, and this Worker takes only what a key that it trusts has signed: "
                "sign it with `crossfade sign`",
                transient=True,
            )
        _put(folder / SIGNATURE_FILE, data)
        try:
            verify_artifact(folder, self._keys)
        except UntrustedError as error:
            raise LoadError(f"{uri}: {error}") from error
        except SigningError as error:
            raise LoadError(f"{uri}: {error}", transient=True) from error


def _put(file: Path, data: bytes) -> None:
    """Whoever reads it reads the old one or the new one."""
    number, name = tempfile.mkstemp(prefix=".", dir=file.parent)
    with os.fdopen(number, "wb") as opened:
        opened.write(data)
    Path(name).replace(file)
