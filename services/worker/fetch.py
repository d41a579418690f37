"""Artifacts into the cache: streamed while they are hashed, and opened only under their digest.

An artifact's digest is the SHA-256 of its manifest, which lists size and SHA-256 of every other file. Files go to a
temporary folder that is renamed to `sha256/<digest>` when everything agrees, so the cache never holds half of one.
"""

import contextlib
import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlsplit

import fsspec

from crossfade.manifest import MANIFEST_FILE, MAX_MANIFEST_BYTES, Manifest, ManifestError, digest, loads
from services.worker.domain import ArtifactRef, LoadError

SCHEMES: Final = frozenset({"file", "s3", "gs", "gcs", "az", "abfs", "http", "https"})
"""Where artifacts may come from."""
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_BLOCK: Final = 1 << 20


class ArtifactCache:
    """Folders of fetched artifacts.

    Args:
        root: the cache's folder; made when it is needed. Several Workers may share it.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def fetch(self, artifact: ArtifactRef, is_over: Callable[[], bool] = lambda: False) -> tuple[Path, Manifest]:
        """The folder and the manifest of an artifact, from the cache when it is there undamaged.

        Blocks while it reads; call it on a thread.

        Args:
            artifact: where it lies, and what it must be.
            is_over: asked between blocks: whether nobody waits for it any more.

        Raises:
            LoadError: it cannot be read, or it is not what was published; the message names what differs.
        """
        if not _DIGEST.fullmatch(artifact.digest):
            raise LoadError(f"its digest {artifact.digest!r} is not sha256: and 64 hexadecimal digits")
        folder = self._root / "sha256" / artifact.digest.removeprefix("sha256:")
        if folder.is_dir():
            try:
                return folder, self._copy(_local(folder), artifact, None, is_over)
            except LoadError as error:
                # Others may use what is merely not read in time.
                if error.transient:
                    raise
                shutil.rmtree(folder, ignore_errors=True)
        base = _base(artifact.uri)
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".fetch-", dir=self._root))
        try:
            manifest = self._copy(base, artifact, temporary, is_over)
            with contextlib.suppress(FileExistsError, OSError):
                temporary.rename(folder)
            if not folder.is_dir():
                raise LoadError(f"the artifact could not be stored in {folder}", transient=True)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return folder, manifest

    def _copy(self, base: str, artifact: ArtifactRef, target: Path | None, is_over: Callable[[], bool]) -> Manifest:
        data = _read_manifest(base)
        found = digest(data)
        if found != artifact.digest:
            raise LoadError(
                f"{base}/{MANIFEST_FILE} is not the published one: its digest is {found}, published was "
                f"{artifact.digest}"
            )
        try:
            manifest = loads(data)
        except ManifestError as error:
            raise LoadError(f"{base}/{error}") from error
        total = len(data) + sum(entry.size for entry in manifest.files)
        if artifact.size and total != artifact.size:
            raise LoadError(f"{base} has {total} bytes by its manifest, published were {artifact.size}")
        if target is not None:
            (target / MANIFEST_FILE).write_bytes(data)
        for entry in manifest.files:
            # The manifest refuses any path that is not a plain name, so nothing leaves the folder.
            place = target / entry.path if target else None
            _copy_file(f"{base}/{entry.path}", entry.size, entry.sha256, place, is_over)
        return manifest


def _local(folder: Path) -> str:
    return folder.as_uri()


def _base(uri: str) -> str:
    scheme = urlsplit(uri).scheme
    # fsspec chains file systems at "::", which would read through a scheme that is not allowed.
    if scheme not in SCHEMES or "::" in uri:
        raise LoadError(
            f"its address {uri!r} is not one that Workers read; publish it under {', '.join(sorted(SCHEMES))}"
        )
    return uri.rstrip("/")


def _read_manifest(base: str) -> bytes:
    with _opened(f"{base}/{MANIFEST_FILE}") as source:
        return bytes(source.read(MAX_MANIFEST_BYTES + 1))


def _copy_file(uri: str, size: int, sha256: str, target: Path | None, is_over: Callable[[], bool]) -> None:
    hasher = hashlib.sha256()
    length = 0
    with _opened(uri) as source, target.open("xb") if target else contextlib.nullcontext() as file:
        while block := source.read(_BLOCK):
            if is_over():
                raise LoadError(f"{uri} was not fetched in time: {length} of {size} bytes came", transient=True)
            length += len(block)
            if length > size:
                raise LoadError(f"{uri} is longer than the {size} bytes that the manifest says")
            hasher.update(block)
            if file is not None:
                file.write(block)
    if length < size:
        raise LoadError(f"{uri} is cut short: it has {length} of {size} bytes")
    if hasher.hexdigest() != sha256:
        raise LoadError(f"{uri} was altered: its SHA-256 is {hasher.hexdigest()}, the manifest says {sha256}")


@contextlib.contextmanager
def _opened(uri: str) -> Iterator[IO[bytes]]:
    """The source; every failure to read or to store becomes a LoadError that may be tried again."""
    try:
        with fsspec.open(uri, "rb") as source:
            yield source
    except FileNotFoundError as error:
        raise LoadError(f"{uri} does not exist", transient=True) from error
    except ImportError as error:
        raise LoadError(f"{uri} cannot be read here: {error}; install that package with the Worker") from error
    except LoadError:
        raise
    except Exception as error:
        raise LoadError(f"{uri} could not be fetched: {type(error).__name__}: {error}", transient=True) from error
