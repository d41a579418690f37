"""Folders of the artifact cache that a process has, until it ends, however that comes (flock(2))."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from services.worker.domain import LoadError

COMING: Final = ".fetch-"
"""How the names begin of what is not an artifact yet; the cache removes those that nobody has."""
ATTEMPTS: Final = 5


@contextlib.contextmanager
def scratch_folder(root: Path) -> Iterator[Path]:
    """A folder in the cache for what is needed for a while; if this process is killed, the cache removes it.

    Raises:
        OSError: it cannot be made.
    """
    root.mkdir(parents=True, exist_ok=True)
    made, lock = begin(root)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(lock)


def begin(root: Path) -> tuple[Path, int]:
    """A folder to fill, locked: nobody takes it for left behind."""
    for _ in range(ATTEMPTS):
        made = Path(tempfile.mkdtemp(prefix=COMING, dir=root))
        lock = lock_folder(made, fcntl.LOCK_SH)
        if lock is not None:
            return made, lock
    raise LoadError(f"folders made in {root} are removed by somebody at once", transient=True)


def lock_folder(folder: Path, kind: int) -> int | None:
    """A lock on a folder; None: it is not there, or others have it."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with contextlib.ExitStack() as closing:
        closing.callback(os.close, lock)
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        # It may have been taken away before the lock was there.
        if not is_at(folder, lock):
            return None
        closing.pop_all()
        return lock


def is_alone(lock: int) -> bool:
    """Whether nobody else uses what is locked; if so, nobody can from now on."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_at(folder: Path, lock: int) -> bool:
    """Whether the folder of this name is the one that is locked."""
    try:
        return os.path.samestat(os.fstat(lock), folder.stat())
    except FileNotFoundError:
        return False
