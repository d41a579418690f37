"""What a Worker knows of the artifacts of what it holds."""

import asyncio
import gc
import os
import threading
from pathlib import Path

import pytest

from services.worker.artifacts.cache import ArtifactCache
from services.worker.artifacts.folders import Folders
from services.worker.domain import LoadError, ServingKey, SignatureRef, TensorRef, Traffic, WantedVersion
from tests.support.wait import until
from tests.unit.worker.test_fetch import FILES, reference, write_manifest

TENSOR = TensorRef("x", "FP32", (-1, 2))
SIGNATURE = SignatureRef((TENSOR,), (TENSOR,), "other", ())


def publish(root: Path, version: str) -> WantedVersion:
    """An artifact of that version."""
    folder = root / version
    folder.mkdir()
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    write_manifest(folder, created_by=version)
    return WantedVersion(version, reference(folder), SIGNATURE, (Traffic.LIVE,))


def locks() -> int:
    """How many there are in this process."""
    gc.collect()
    # By its type alone: others of the process say something when they are asked for their class.
    return sum(type(one) is asyncio.Lock for one in gc.get_objects())


async def test_nothing_stays_of_versions_that_were_forgotten(tmp_path: Path) -> None:
    folders = Folders(ArtifactCache(tmp_path / "cache"), 60.0)
    before = locks()
    for number in range(20):
        wanted = publish(tmp_path, f"v{number}")
        live, control = (ServingKey("m", wanted.version, kind) for kind in (Traffic.LIVE, Traffic.CONTROL))
        first, second = await asyncio.gather(folders.fetch(live, wanted), folders.fetch(control, wanted))
        assert first == second == folders.of("m", wanted.version)
        folders.forget("m", wanted.version)
    assert folders.versions == frozenset()
    assert locks() == before


def fetches() -> int:
    """Threads that read."""
    return sum(one.name == "fetch" for one in threading.enumerate())


def hang(root: Path, version: str) -> Path:
    """Has whoever opens a file of the artifact wait for a writer, as on a mount whose server is gone; the pipe."""
    pipe = root / version / "program.pt2"
    pipe.rename(root / "program")
    os.mkfifo(pipe)
    return pipe


def go_on(root: Path, pipe: Path) -> None:
    """The server is back."""
    with pipe.open("wb") as writing:
        (root / "program").replace(pipe)
        writing.write(b"x")


KEY = ServingKey("m", "v1", Traffic.LIVE)


async def test_a_read_that_hangs_takes_one_thread_however_often_it_is_tried_again(tmp_path: Path) -> None:
    wanted = publish(tmp_path, "v1")
    pipe = hang(tmp_path, "v1")
    folders = Folders(ArtifactCache(tmp_path / "cache"), 60.0)
    for _ in range(4):
        attempt = asyncio.create_task(folders.fetch(KEY, wanted))
        # It begins in its first turn.
        await asyncio.sleep(0)
        assert fetches() == 1
        attempt.cancel()
        await asyncio.gather(attempt, return_exceptions=True)
    attempt = asyncio.create_task(folders.fetch(KEY, wanted))
    go_on(tmp_path, pipe)
    assert await attempt == folders.of("m", "v1")


async def test_it_says_that_an_earlier_read_hangs_still(tmp_path: Path) -> None:
    wanted = publish(tmp_path, "v1")
    pipe = hang(tmp_path, "v1")
    folders = Folders(ArtifactCache(tmp_path / "cache"), 0.05)
    with pytest.raises(LoadError, match=r"was not fetched within 0\.05 s$"):
        await folders.fetch(KEY, wanted)
    with pytest.raises(LoadError, match=r"within 0\.05 s: an earlier read of it hangs still") as caught:
        await folders.fetch(KEY, wanted)
    assert caught.value.transient
    go_on(tmp_path, pipe)
    await until(lambda: not fetches())
