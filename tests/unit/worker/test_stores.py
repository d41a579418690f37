"""Artifacts are read from every store, with the credentials of now, and wait for a package that the Worker lacks."""

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from fsspec.registry import known_implementations

from services.worker.artifacts.cache import ArtifactCache
from services.worker.artifacts.sources import SCHEMES, folder_of
from services.worker.domain import LoadError
from tests.fakes.stores import has_store, lacks_package
from tests.unit.worker.test_fetch import FILES, publish, reference

PACKAGES: Final = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "http": "aiohttp",
    "https": "aiohttp",
}
"""What is read by fsspec, and what that needs."""


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """An artifact's folder."""
    return publish(tmp_path / "published")


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


def test_these_are_all_the_schemes() -> None:
    assert {"file", *PACKAGES} == SCHEMES


@pytest.mark.parametrize("scheme", PACKAGES)
def test_an_artifact_is_read_by_any_scheme(
    tmp_path: Path, published: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    credentials = tmp_path / "credentials"
    credentials.write_text("right")
    has_store(monkeypatch, scheme, published, credentials)
    artifact = replace(reference(published), uri=f"{scheme}://models/churn/v1")
    folder = ArtifactCache(tmp_path / "cache").fetch(artifact).folder
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES


@pytest.mark.parametrize("scheme", ["file", *PACKAGES])
def test_an_address_of_any_scheme_names_a_folder(scheme: str) -> None:
    for written in ("models/churn/v1", "models/churn/v1/"):
        assert folder_of(f"{scheme}://{written}") == f"{scheme}://models/churn/v1"


@pytest.mark.parametrize("scheme", ["s3", "gs", "gcs", "az", "abfs"])
def test_the_package_is_the_one_that_fsspec_imports(scheme: str) -> None:
    assert known_implementations[scheme]["class"].partition(".")[0] == PACKAGES[scheme]


@pytest.mark.parametrize(("scheme", "package"), PACKAGES.items())
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
