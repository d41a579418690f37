"""The data folder of a local trial: database, token keys, artifact cache, last routes, logs."""

import fcntl
import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import Self


class FolderInUseError(Exception):
    """Another `crossfade up` uses the folder."""


class DataFolder:
    """The folder, locked while it is in use.

    Args:
        path: where it lies; made when it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.database = self.path / "postgres"
        self.token_keys = self.path / "token-keys"
        self.cache = self.path / "artifacts"
        self.routes = self.path / "routes.pb"
        self.logs = self.path / "logs"
        self._lock_file = self.path / "lock"
        self._lock: int | None = None

    @property
    def was_used(self) -> bool:
        """Whether a `crossfade up` has run on the folder, or still does."""
        return self._lock_file.exists()

    def __enter__(self) -> Self:
        """Locks the folder and makes what is missing.

        Raises:
            FolderInUseError: another process has locked it.
            OSError: it cannot be written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise FolderInUseError(
                f"another `crossfade up` runs on {self.path}: end it, or choose another folder with --data"
            ) from error
        if not self.token_keys.exists():
            # Written beside its place and renamed, so that a half-written one is never taken for it.
            making = self.token_keys.with_suffix(".making")
            making.unlink(missing_ok=True)
            with os.fdopen(os.open(making, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(f"1 {secrets.token_hex(32)}\n")
                file.flush()
                os.fsync(file.fileno())
            making.rename(self.token_keys)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            os.close(self._lock)
