"""The artifacts that lie on this machine: whole folders under their digests, within a bound, shared by its Workers.

Whoever uses a folder has a shared lock on it (flock(2)), which ends with the process that has it; only who gets an
exclusive one may remove it. Files come into a folder beside the others, which is renamed when everything agrees, so
that the cache never has half of an artifact.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import uuid
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crossfade.manifest import SIGNATURE_FILE, Manifest
from services.worker.artifacts.fetch import DiffersError, check_reference, copy_artifact, fetch_signature
from services.worker.artifacts.locked import ATTEMPTS, COMING, begin, is_alone, is_at, lock_folder
from services.worker.artifacts.sources import check_source
from services.worker.artifacts.trust import Trust
from services.worker.domain import ArtifactRef, LoadError

_FETCHED: Final = "sha256"
_GOING: Final = ".gone-"


class Held:
    """An artifact that stays in the cache until this is closed, or nobody has it any more.

    Attributes:
        folder: where its files lie.
        manifest: says what they are.
    """

    def __init__(self, folder: Path, manifest: Manifest, lock: int) -> None:
        self.folder = folder
        self.manifest = manifest
        self._close = weakref.finalize(self, os.close, lock)

    def close(self) -> None:
        """Lets it go; it was used until now."""
        if self._close.alive:
            _note_use(self.folder)
            self._close()


@dataclass(frozen=True, slots=True)
class _Kept:
    used: float
    size: int
    folder: Path


class ArtifactCache:
    """Folders of fetched artifacts.

    Args:
        root: the cache's folder; made when it is needed. Several Workers may share it.
        most_bytes: beyond it the artifacts that were used least recently make room for one that comes; those in use
            stay, whatever they take. 0: no bound.
        trust: whose artifacts are taken; None: anybody's.
        sources: addresses under which artifacts may lie; none: any.
        free_bytes: how many bytes the disk of a folder has left.
    """

    def __init__(
        self,
        root: Path,
        most_bytes: int = 0,
        trust: Trust | None = None,
        sources: Sequence[str] = (),
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        self._root = root.absolute()
        self._most_bytes = most_bytes
        self._trust = trust
        self._sources = tuple(sources)
        self._free_bytes = free_bytes

    def fetch(self, artifact: ArtifactRef, is_over: Callable[[], bool] = lambda: False) -> Held:
        """The artifact, from the cache when it is there undamaged.

        Blocks while it reads; call it on a thread.

        Args:
            artifact: where it lies, and what it must be.
            is_over: asked between blocks: whether nobody waits for it any more.

        Raises:
            LoadError: it cannot be read or stored, or it is not what was published; the message names what differs.
            OSError: the cache's folder cannot be used.
        """
        check_reference(artifact)
        check_source(artifact.uri, self._sources)
        folder = self._root / _FETCHED / artifact.digest.removeprefix("sha256:")
        held = self._open(folder, artifact, is_over) or self._bring(folder, artifact, is_over)
        try:
            if self._trust is not None:
                self._check_signature(self._trust, held.folder, artifact.uri)
        except BaseException:
            held.close()
            raise
        return held

    def _check_signature(self, trust: Trust, folder: Path, uri: str) -> None:
        """Lets trust see the signature that lies here, and the published one if that does not do: it may be new."""
        signature = _signature_of(folder)
        if signature.is_file():
            with contextlib.suppress(LoadError):
                trust.check(folder, signature, uri)
                return
        data = fetch_signature(uri)
        if data is None:
            raise LoadError(
                f"{uri} has no {SIGNATURE_FILE}, and this Worker takes only what a key that it trusts has signed: "
                "sign it with `crossfade sign`",
                transient=True,
            )
        temporary, lock = begin(self._root)
        try:
            (temporary / SIGNATURE_FILE).write_bytes(data)
            # Whoever reads it reads the old one or the new one.
            (temporary / SIGNATURE_FILE).replace(signature)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            os.close(lock)
        trust.check(folder, signature, uri)

    def _open(
        self, folder: Path, artifact: ArtifactRef, is_over: Callable[[], bool], *, replaced: bool = False
    ) -> Held | None:
        """What is there undamaged; what is damaged goes if nobody uses it, or if a good copy is about to replace it."""
        lock = lock_folder(folder, fcntl.LOCK_SH)
        if lock is None:
            return None
        with contextlib.ExitStack() as unlocking:
            unlocking.callback(os.close, lock)
            try:
                manifest = copy_artifact(folder.as_uri(), artifact, None, is_over)
            except DiffersError:
                # Another Worker may have seen the damage too, and have a good copy in its place by now.
                if (replaced or is_alone(lock)) and is_at(folder, lock):
                    self._discard(folder)
                return None
            _note_use(folder)
            unlocking.pop_all()
            return Held(folder, manifest, lock)

    def _bring(self, folder: Path, artifact: ArtifactRef, is_over: Callable[[], bool]) -> Held:
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._make_room(artifact.size)
        temporary, lock = begin(self._root)
        try:
            manifest = copy_artifact(artifact.uri, artifact, temporary, is_over)
            there = self._put(temporary, folder, artifact, is_over)
        except BaseException:
            os.close(lock)
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        if there is None:
            return Held(folder, manifest, lock)
        os.close(lock)
        shutil.rmtree(temporary, ignore_errors=True)
        return there

    def _put(self, good: Path, folder: Path, artifact: ArtifactRef, is_over: Callable[[], bool]) -> Held | None:
        """Moves a good copy to its place, if need be to that of a damaged one; another good one there is answered."""
        for _ in range(ATTEMPTS):
            try:
                good.rename(folder)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
            else:
                return None
            held = self._open(folder, artifact, is_over, replaced=True)
            if held is not None:
                return held
        raise LoadError(f"the artifact could not be stored in {folder}", transient=True)

    def _make_room(self, size: int) -> None:
        """Removes what processes that were killed have left, and what was used least recently while room is wanted."""
        for left in (*self._root.glob(f"{COMING}*"), *self._root.glob(f"{_GOING}*")):
            lock = lock_folder(left, fcntl.LOCK_EX)
            if lock is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(lock)
        kept = sorted(self._kept(), key=lambda one: one.used)
        total = sum(one.size for one in kept)
        free = self._free_bytes(self._root)
        for one in kept:
            if free >= size and (not self._most_bytes or total + size <= self._most_bytes):
                return
            lock = lock_folder(one.folder, fcntl.LOCK_EX)
            if lock is not None:
                try:
                    self._discard(one.folder)
                finally:
                    os.close(lock)
                total, free = total - one.size, free + one.size

    def _kept(self) -> Iterator[_Kept]:
        for folder in (self._root / _FETCHED).iterdir():
            # Another Worker may remove it now.
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                size = sum(entry.stat().st_size for entry in os.scandir(folder))
                yield _Kept(folder.stat().st_mtime, size, folder)

    def _discard(self, folder: Path) -> None:
        """Takes a folder away at once; whoever reads its files reads on. It needs no room: there may be none."""
        place = self._root / f"{_GOING}{uuid.uuid4().hex}"
        with contextlib.suppress(FileNotFoundError):
            _signature_of(folder).unlink()
        with contextlib.suppress(FileNotFoundError):
            folder.rename(place)
        shutil.rmtree(place, ignore_errors=True)


def _note_use(folder: Path) -> None:
    """Notes that it is used now; what lies on a disk that cannot be written at present is used all the same."""
    with contextlib.suppress(OSError):
        os.utime(folder)


def _signature_of(folder: Path) -> Path:
    """Beside the folder: what lies in it is what is signed."""
    return folder.with_name(f"{folder.name}.sig")
