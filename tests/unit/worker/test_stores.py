"""Artifacts of object stores are read with the credentials of now, and wait for a package that the Worker lacks."""

from dataclasses import replace
from pathlib import Path

import pytest

from services.worker.artifacts.cache import ArtifactCache
from services.worker.domain import LoadError
from tests.fakes.stores import has_store, lacks_package
from tests.unit.worker.test_fetch import FILES, reference, write_manifest


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """An artifact's folder."""
    folder = tmp_path / "published"
    folder.mkdir()
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    write_manifest(folder)
    return folder


def test_credentials_that_were_exchanged_count_at_the_next_attempt(
    tmp_path: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = tmp_path / "credentials"
    has_store(monkeypatch, "s3", published, credentials)
    cache = ArtifactCache(tmp_path / "cache")
    artifact = replace(reference(published), uri="s3://models/churn/v1")
    credentials.write_text("expired")
    with pytest.raises(LoadError, match="ExpiredToken"):
        cache.fetch(artifact)
    credentials.write_text("right")
    cache.fetch(artifact).close()


@pytest.mark.parametrize(
    ("scheme", "package"),
    [
        ("s3", "s3fs"),
        ("gs", "gcsfs"),
        ("gcs", "gcsfs"),
        ("az", "adlfs"),
        ("abfs", "adlfs"),
        ("http", "aiohttp"),
        ("https", "aiohttp"),
    ],
)
def test_a_package_that_the_worker_lacks_is_named_and_may_come(
    tmp_path: Path, published: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, package: str
) -> None:
    cache = ArtifactCache(tmp_path / "cache")
    artifact = replace(reference(published), uri=f"{scheme}://models/churn/v1")
    with monkeypatch.context() as lacking, pytest.raises(LoadError) as caught:
        lacks_package(lacking, scheme, package)
        cache.fetch(artifact)
    told = f"{scheme}://models/churn/v1/model.json cannot be read by this Worker, which needs {package} for it ("
    assert str(caught.value).startswith(told)
    assert f"`pip install {package}`" in str(caught.value)
    assert f"`--build-arg STORE_PACKAGES={package}`" in str(caught.value)
    assert caught.value.transient
    credentials = tmp_path / "credentials"
    credentials.write_text("right")
    has_store(monkeypatch, scheme, published, credentials)
    cache.fetch(artifact).close()
