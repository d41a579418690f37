"""A source that breaks off, or a disk that is full, while an artifact is fetched: told, and got over without help."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.worker.supervisor.lives import RETRY_SECONDS
from tests.fakes.clock import RunningClock
from tests.fakes.models import expected_scores, reference_rows, scores_of
from tests.fakes.registry import FakeRegistry, lane, wanted
from tests.fakes.stores import has_store, lacks_package
from tests.support.http_site import CutOff, Files, Site
from tests.support.own_disk import NoDiskError, OwnDisk
from tests.support.wait import until


def what_is_wrong(registry: FakeRegistry) -> str:
    """What the Worker says of v1."""
    serving = registry.serving("scores", "v1")
    return serving.error if serving is not None else ""


async def answers(caller: Any) -> None:
    """Asks for a row."""
    rows = reference_rows(1)
    assert scores_of(await caller.predict(rows)) == pytest.approx(expected_scores(rows), rel=1e-3)


async def test_a_source_that_breaks_off_halfway_is_tried_again(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, tmp_path: Path
) -> None:
    published, clock = artifacts().artifact, RunningClock()
    with Site(published.path.parent, CutOff) as site:
        uri = f"{site.address}/{published.path.name}"
        version = wanted("v1", uri, published.digest, published.manifest, size=published.size)
        await registry.set_lanes(lane("scores", version))
        await start_worker(clock)
        await until(lambda: what_is_wrong(registry), 60)
        said = f"{uri}/program.pt2 could not be fetched: ClientPayloadError"
        assert what_is_wrong(registry).startswith(said)
        assert registry.state("scores", "v1") == "LOADING"
        assert [*(tmp_path / "cache").glob(".*"), *(tmp_path / "cache" / "sha256").iterdir()] == []
        site.change(Files)
        clock.advance(RETRY_SECONDS)
        await answers(await caller_of("v1"))


async def test_a_package_that_the_worker_lacks_is_told_and_the_version_waits_for_it(
    registry: FakeRegistry,
    start_worker: Any,
    caller_of: Any,
    artifacts: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    published, clock, credentials = artifacts().artifact, RunningClock(), tmp_path / "credentials"
    version = wanted("v1", "s3://models/scores/v1", published.digest, published.manifest, size=published.size)
    lacks_package(monkeypatch, "s3", "s3fs")
    # What has failed is tried again where it is stable alone.
    await registry.set_lanes(lane("scores", version, stable="v0", test="v1"))
    await start_worker(clock)
    await until(lambda: what_is_wrong(registry), 60)
    assert registry.state("scores", "v1") == "LOADING"
    assert "which needs s3fs for it" in what_is_wrong(registry)
    credentials.write_text("right")
    has_store(monkeypatch, "s3", published.path, credentials)
    clock.advance(RETRY_SECONDS)
    await answers(await caller_of("v1"))


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[OwnDisk]:
    """A disk of one megabyte, where that can be had."""
    try:
        async with OwnDisk(Path(tempfile.mkdtemp(dir=tmp_path)), 1) as made:
            yield made
    except NoDiskError as error:
        pytest.skip(f"nobody may mount a file system of his own here: {error}")


async def test_a_full_disk_is_told_and_tried_again(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any, disk: OwnDisk
) -> None:
    packaged, clock = artifacts(), RunningClock()
    disk.fill(left=packaged.artifact.size // 2)
    await registry.set_lanes(lane("scores", want(packaged)))
    await start_worker(clock, artifact_cache=disk.folder)
    await until(lambda: what_is_wrong(registry), 60)
    assert "program.pt2 cannot be written (No space left on device): make room there" in what_is_wrong(registry)
    assert registry.state("scores", "v1") == "LOADING"
    # What did come is not there to fill it further.
    assert [*disk.folder.glob(".*"), *(disk.folder / "sha256").iterdir()] == []
    disk.make_room()
    clock.advance(RETRY_SECONDS)
    await answers(await caller_of("v1"))
