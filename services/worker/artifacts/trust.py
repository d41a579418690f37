"""Which artifacts may be loaded here: those that a trusted key has signed."""

from pathlib import Path

from crossfade.signing import SigningError, UntrustedError, check_public_key, verify_artifact
from services.worker.domain import LoadError


class Trust:
    """Keys that are trusted: those that are there when an artifact is checked.

    Args:
        place: a public key in PEM, or a folder of such, `*.pem`.

    Raises:
        ValueError: there is none, or one cannot be used.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        keys = self._keys()
        if not keys:
            raise ValueError(f"CROSSFADE_TRUSTED_KEYS: {place} has no file *.pem")
        try:
            for key in keys:
                check_public_key(key)
        except SigningError as error:
            raise ValueError(f"CROSSFADE_TRUSTED_KEYS: {error}") from error

    def check(self, folder: Path, signature: Path, uri: str) -> None:
        """Refuses an artifact that none of the keys has signed.

        Args:
            folder: its files, as its digest says.
            signature: the file.
            uri: where it was published, for messages.

        Raises:
            LoadError: none of them has signed it, or that cannot be found out at present.
        """
        try:
            verify_artifact(folder, self._keys(), signature)
        except UntrustedError as error:
            raise LoadError(f"{uri}: {error}") from error
        except SigningError as error:
            raise LoadError(f"{uri}: its signature cannot be checked: {error}", transient=True) from error

    def _keys(self) -> list[Path]:
        return sorted(self._place.glob("*.pem")) if self._place.is_dir() else [self._place]
