"""Artifacts from where they were published: streamed while they are hashed, and refused if they are not what was.

An artifact's digest is the SHA-256 of its manifest, which lists size and SHA-256 of every other file.
"""

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

import fsspec

from crossfade.manifest import MANIFEST_FILE, MAX_MANIFEST_BYTES, SIGNATURE_FILE, Manifest, ManifestError, digest, loads
from services.common.descriptors import MORE_DESCRIPTORS, OUT_OF_DESCRIPTORS
from services.worker.artifacts.sources import PACKAGES, folder_of
from services.worker.domain import ArtifactRef, LoadError

if TYPE_CHECKING:
    from aiohttp import TraceRequestRedirectParams

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_BLOCK: Final = 1 << 20
_MOST_SIGNATURE_BYTES: Final = 1 << 20
_GONE: Final = (404, 410)
_AGAIN: Final = "put the published file back there, or publish what lies there as a new version"


class DiffersError(LoadError):
    """What lies there is not the published artifact, or not all of it."""


def check_reference(artifact: ArtifactRef) -> None:
    """Refuses a reference that no artifact can have.

    Raises:
        LoadError: the digest is none.
    """
    if not _DIGEST.fullmatch(artifact.digest):
        raise LoadError(f"its digest {artifact.digest!r} is not sha256: and 64 hexadecimal digits")


def copy_artifact(uri: str, artifact: ArtifactRef, target: Path | None, is_over: Callable[[], bool]) -> Manifest:
    """Reads a whole artifact, and checks every byte.

    Args:
        uri: where it lies; the digest says what it is, wherever it comes from.
        artifact: what it must be.
        target: where the files go; None: they are checked alone.
        is_over: asked between blocks: whether nobody waits for it any more.

    Raises:
        DiffersError: it is not what was published; the message names what differs.
        LoadError: it cannot be read or stored, or has another size than was published.
    """
    base = folder_of(uri)
    data = _read_manifest(base)
    found = digest(data)
    if found != artifact.digest:
        raise DiffersError(
            f"{base}/{MANIFEST_FILE} is not the published one: its digest is {found}, published was {artifact.digest}",
            # Cut short on its way, it has not come to the end of its object.
            transient=not data.rstrip().endswith(b"}"),
        )
    try:
        manifest = loads(data)
    except ManifestError as error:
        raise LoadError(f"{base}/{error}") from error
    total = len(data) + sum(entry.size for entry in manifest.files)
    if artifact.size and total != artifact.size:
        raise LoadError(f"{base} has {total} bytes by its manifest, published were {artifact.size}")
    if target is not None:
        with _storing(target):
            (target / MANIFEST_FILE).write_bytes(data)
    for entry in manifest.files:
        # The manifest refuses any path that is not a plain name, so nothing leaves the folder.
        place = target / entry.path if target else None
        _copy_file(f"{base}/{entry.path}", entry.size, entry.sha256, place, is_over)
    return manifest


def fetch_signature(uri: str) -> bytes | None:
    """The signature beside a published artifact; None: there is none.

    Raises:
        LoadError: it cannot be read.
    """
    try:
        with _opened(f"{folder_of(uri)}/{SIGNATURE_FILE}") as source:
            data = _whole(source, _MOST_SIGNATURE_BYTES + 1)
    except LoadError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
    if len(data) > _MOST_SIGNATURE_BYTES:
        raise LoadError(
            f"{folder_of(uri)}/{SIGNATURE_FILE} is larger than a signature may be ({_MOST_SIGNATURE_BYTES} bytes)"
        )
    return data


def _read_manifest(base: str) -> bytes:
    with _opened(f"{base}/{MANIFEST_FILE}") as source:
        return _whole(source, MAX_MANIFEST_BYTES + 1)


def _whole(source: IO[bytes], most: int) -> bytes:
    """All of it, or `most` bytes; a stream gives what it has at each time."""
    parts: list[bytes] = []
    while most > 0 and (part := source.read(most)):
        parts.append(part)
        most -= len(part)
    return b"".join(parts)


def _copy_file(uri: str, size: int, sha256: str, target: Path | None, is_over: Callable[[], bool]) -> None:
    hasher = hashlib.sha256()
    length = 0
    with _opened(uri) as source, _created(target) as file:
        while block := source.read(_BLOCK):
            if is_over():
                raise LoadError(f"{uri} was not fetched in time: {length} of {size} bytes came", transient=True)
            length += len(block)
            if length > size:
                raise DiffersError(f"{uri} is longer than the {size} bytes that the manifest says: {_AGAIN}")
            hasher.update(block)
            if file is not None and target is not None:
                with _storing(target):
                    _write(file, block)
    if length < size:
        # As a download is whose connection was lost.
        raise DiffersError(f"{uri} is cut short: it has {length} of {size} bytes", transient=True)
    if hasher.hexdigest() != sha256:
        raise DiffersError(
            f"{uri} was altered: its SHA-256 is {hasher.hexdigest()}, the manifest says {sha256}: {_AGAIN}"
        )


@contextlib.contextmanager
def _opened(uri: str) -> Iterator[IO[bytes]]:
    """The source; every failure to read or to store becomes a LoadError that may be tried again."""
    try:
        with _open(uri) as source:
            yield source
    except FileNotFoundError as error:
        cause = error.__cause__
        if isinstance(cause, LoadError):
            raise cause from None
        if uri.startswith("http") and cause is not None and getattr(cause, "status", None) not in _GONE:
            # fsspec says that there is no such file whatever went wrong with a server.
            raise LoadError(f"{uri} could not be fetched: {type(cause).__name__}: {cause}", transient=True) from cause
        raise DiffersError(f"{uri} does not exist", transient=True) from error
    except ImportError as error:
        # The version has done nothing wrong, and a package can be installed beside a Worker that runs.
        raise LoadError(_lacking(uri, error), transient=True) from error
    except LoadError:
        raise
    except Exception as error:
        raise LoadError(f"{uri} could not be fetched: {type(error).__name__}: {error}", transient=True) from error


def _lacking(uri: str, error: ImportError) -> str:
    package = PACKAGES.get(urlsplit(uri).scheme, error.name)
    # By fsspec's own words it is always that package, also where it is there and itself lacks another one.
    return (
        f"{uri} cannot be read by this Worker, which needs {package} for it ({error.__cause__ or error}): "
        f"`pip install {package}` beside it, or build its image with `--build-arg STORE_PACKAGES={package}`"
    )


def _open(uri: str) -> contextlib.AbstractContextManager[IO[bytes]]:
    path = uri.removeprefix("file://")
    if path != uri:
        # fsspec takes the address for a path as it stands, and finds no folder whose name is written with %20 in it.
        return Path(unquote(path)).open("rb")
    # fsspec keeps what it has opened a store with, and so credentials that have been exchanged since. Of HTTP it would
    # keep one for each file that is ever fetched, with its connections, for by these it knows none again.
    opened: contextlib.AbstractContextManager[IO[bytes]] = fsspec.open(
        uri, "rb", skip_instance_cache=True, **(_of_http() if uri.startswith("http") else {})
    )
    return opened


def _of_http() -> dict[str, Any]:
    """Files as streams, which any server gives, and for as long as bytes come; from where the address says alone."""
    # Only where it is needed: it takes some 10 MB.
    from aiohttp import ClientTimeout, TraceConfig

    trace = TraceConfig()
    trace.on_request_redirect.append(_refuse_redirect)
    timeout = ClientTimeout(total=None, sock_connect=30, sock_read=60)
    client = {"timeout": timeout, "trace_configs": [trace]}
    return {"block_size": 0, "client_kwargs": client}


async def _refuse_redirect(_session: object, _context: object, asked: "TraceRequestRedirectParams") -> None:
    # Whoever runs the server could have the Worker ask what only the Worker's network can reach.
    raise LoadError(
        f"{asked.url} answers that the file is elsewhere, and Workers don't follow; publish the address where it lies",
        transient=True,
    )


@contextlib.contextmanager
def _created(target: Path | None) -> Iterator[IO[bytes] | None]:
    if target is None:
        yield None
        return
    with _storing(target):
        # Unbuffered: what cannot be stored shows where it is written, and not again at the end.
        file = target.open("xb", buffering=0)
    with file:
        yield file


def _write(file: IO[bytes], block: bytes) -> None:
    left = memoryview(block)
    while left:
        # A disk that fills up takes a part, and the next time nothing.
        left = left[file.write(left) :]


@contextlib.contextmanager
def _storing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        advice = "make room there, or set CROSSFADE_ARTIFACT_CACHE to a folder on another disk"
        if error.errno in OUT_OF_DESCRIPTORS:
            advice = MORE_DESCRIPTORS
        raise LoadError(f"{target} cannot be written ({error.strerror}): {advice}", transient=True) from error
