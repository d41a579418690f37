"""Only what a trusted key has signed comes out of the cache."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from crossfade.manifest import SIGNATURE_FILE
from crossfade.signing import make_signing_key, sign_artifact
from services.worker.app import App
from services.worker.artifacts.cache import ArtifactCache
from services.worker.artifacts.trust import Trust
from services.worker.domain import ArtifactRef, LoadError
from services.worker.settings import WorkerSettings
from tests.unit.worker.test_cache import publish

__all__ = ["publish"]


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder of two trusted keys; the private ones lie beside it."""
    for name in ("old", "new", "stranger"):
        make_signing_key(tmp_path / f"{name}.key", tmp_path / f"{name}.pem")
    trusted = tmp_path / "trusted"
    trusted.mkdir()
    for name in ("old", "new"):
        shutil.copy(tmp_path / f"{name}.pem", trusted)
    return trusted


def source(artifact: ArtifactRef) -> Path:
    """Where it was published."""
    return Path(artifact.uri.removeprefix("file://"))


def test_signed_by_any_of_the_trusted_keys(tmp_path: Path, keys: Path, publish: Callable[[int], ArtifactRef]) -> None:
    cache = ArtifactCache(tmp_path / "cache", trust=Trust(keys))
    for number, name in enumerate(("old", "new")):
        artifact = publish(number)
        sign_artifact(source(artifact), tmp_path / f"{name}.key")
        folder = cache.fetch(artifact).folder
        assert folder.with_name(f"{folder.name}.sig").is_file()
        assert not (folder / SIGNATURE_FILE).exists()
        # From the cache, though its source is gone.
        shutil.rmtree(source(artifact))
        assert cache.fetch(artifact).manifest.created_by == f"test {number}"


def test_one_without_a_signature_waits_for_it(
    tmp_path: Path, keys: Path, publish: Callable[[int], ArtifactRef]
) -> None:
    artifact = publish(1)
    # It lies in the cache from before signatures were asked for.
    ArtifactCache(tmp_path / "cache").fetch(artifact).close()
    cache = ArtifactCache(tmp_path / "cache", trust=Trust(keys))
    with pytest.raises(LoadError, match=r"has no model\.sig.*crossfade sign") as raised:
        cache.fetch(artifact)
    assert raised.value.transient
    sign_artifact(source(artifact), tmp_path / "new.key")
    assert cache.fetch(artifact).manifest.created_by == "test 1"


def test_a_strangers_signature_is_refused_until_a_trusted_one_takes_its_place(
    tmp_path: Path, keys: Path, publish: Callable[[int], ArtifactRef]
) -> None:
    artifact, cache = publish(1), ArtifactCache(tmp_path / "cache", trust=Trust(keys))
    sign_artifact(source(artifact), tmp_path / "stranger.key")
    with pytest.raises(LoadError, match="by no trusted key") as raised:
        cache.fetch(artifact)
    assert not raised.value.transient
    sign_artifact(source(artifact), tmp_path / "old.key")
    assert cache.fetch(artifact).manifest.created_by == "test 1"


def test_another_artifacts_signature_is_refused(
    tmp_path: Path, keys: Path, publish: Callable[[int], ArtifactRef]
) -> None:
    good, bad = publish(1), publish(2)
    shutil.copy(sign_artifact(source(good), tmp_path / "new.key"), source(bad))
    with pytest.raises(LoadError, match=r"it signs other contents of model\.json"):
        ArtifactCache(tmp_path / "cache", trust=Trust(keys)).fetch(bad)


def test_keys_come_and_go_while_a_worker_runs(
    tmp_path: Path, keys: Path, publish: Callable[[int], ArtifactRef]
) -> None:
    first, second = publish(1), publish(2)
    sign_artifact(source(first), tmp_path / "old.key")
    sign_artifact(source(second), tmp_path / "stranger.key")
    cache = ArtifactCache(tmp_path / "cache", trust=Trust(keys))
    cache.fetch(first).close()
    (keys / "old.pem").unlink()
    with pytest.raises(LoadError, match="by no trusted key"):
        cache.fetch(first)
    shutil.copy(tmp_path / "stranger.pem", keys)
    (keys / "broken.pem").write_text("no key")
    assert cache.fetch(second).manifest.created_by == "test 2"
    for key in keys.iterdir():
        key.unlink()
    with pytest.raises(LoadError, match="no public key can be used") as raised:
        cache.fetch(second)
    assert raised.value.transient


def test_a_damaged_signature_in_the_cache_is_fetched_again(
    tmp_path: Path, keys: Path, publish: Callable[[int], ArtifactRef]
) -> None:
    artifact, cache = publish(1), ArtifactCache(tmp_path / "cache", trust=Trust(keys))
    sign_artifact(source(artifact), tmp_path / "old.key")
    folder = cache.fetch(artifact).folder
    folder.with_name(f"{folder.name}.sig").write_bytes(b"half")
    assert cache.fetch(artifact).manifest.created_by == "test 1"


def test_keys_that_cannot_be_used_are_said_at_the_start(tmp_path: Path, keys: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.pem").write_text("no key")
    refused = {"empty": "has no file", "text.pem": "no public key", "none.pem": "cannot be read"}
    for name, words in refused.items():
        with pytest.raises(ValueError, match=f"CROSSFADE_TRUSTED_KEYS: .*{words}"):
            Trust(tmp_path / name)
    assert Trust(keys / "new.pem")


async def test_a_worker_that_others_reach_takes_keys_or_a_word(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"CROSSFADE_TRUSTED_KEYS.*CROSSFADE_ALLOW_UNSIGNED"):
        App(WorkerSettings(listen="0.0.0.0:0", artifact_cache=tmp_path))
