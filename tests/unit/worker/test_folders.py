"""What a Worker knows of the artifacts of what it holds."""

import asyncio
import gc
from pathlib import Path

from services.worker.artifacts.cache import ArtifactCache
from services.worker.artifacts.folders import Folders
from services.worker.domain import ServingKey, SignatureRef, TensorRef, Traffic, WantedVersion
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
