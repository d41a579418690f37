"""Artifacts of object stores are read with the credentials of now."""

import io
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fsspec.spec import AbstractFileSystem

from services.worker.artifacts.cache import ArtifactCache
from services.worker.domain import LoadError
from tests.unit.worker.test_fetch import FILES, reference, write_manifest


class _Store(AbstractFileSystem):  # type: ignore[misc] # fsspec has no types
    """Reads its credentials once, as s3fs and gcsfs do, and gives the files of a folder to those that are right."""

    protocol = "s3"
    folder: ClassVar[Path]
    credentials: ClassVar[Path]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._credentials = self.credentials.read_text()

    def _open(self, path: str, **_: Any) -> io.BytesIO:
        if self._credentials != "right":
            raise PermissionError("ExpiredToken")
        return io.BytesIO((self.folder / path.rpartition("/")[2]).read_bytes())


def test_credentials_that_were_exchanged_count_at_the_next_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = tmp_path / "published"
    published.mkdir()
    for name, data in FILES.items():
        (published / name).write_bytes(data)
    write_manifest(published)
    _Store.folder, _Store.credentials = published, tmp_path / "credentials"
    # Where fsspec looks first; `fsspec.registry` itself shows it and lets nothing be taken away again.
    monkeypatch.setitem(import_module("fsspec.registry")._registry, "s3", _Store)
    cache = ArtifactCache(tmp_path / "cache")
    artifact = replace(reference(published), uri="s3://models/churn/v1")
    _Store.credentials.write_text("expired")
    with pytest.raises(LoadError, match="ExpiredToken"):
        cache.fetch(artifact)
    _Store.credentials.write_text("right")
    cache.fetch(artifact).close()
