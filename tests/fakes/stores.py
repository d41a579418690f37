"""An object store as fsspec opens one, and Workers that have its package or lack it."""

import io
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fsspec.spec import AbstractFileSystem


class Store(AbstractFileSystem):  # type: ignore[misc] # fsspec has no types
    """Reads its credentials once, as s3fs and gcsfs do, and gives the files of a folder to those that are right."""

    protocol = ("s3", "gs", "gcs", "az", "abfs", "http", "https")
    folder: ClassVar[Path]
    credentials: ClassVar[Path]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._credentials = self.credentials.read_text()

    def _open(self, path: str, **_: Any) -> io.BytesIO:
        if self._credentials != "right":
            raise PermissionError("ExpiredToken")
        return io.BytesIO((self.folder / path.rpartition("/")[2]).read_bytes())


def has_store(monkeypatch: pytest.MonkeyPatch, scheme: str, published: Path, credentials: Path) -> None:
    """Has a scheme be that of a store with these files, which gives them while `credentials` says "right"."""
    Store.folder, Store.credentials = published, credentials
    monkeypatch.setitem(_known(), scheme, Store)


def lacks_package(monkeypatch: pytest.MonkeyPatch, scheme: str, package: str) -> None:
    """Has a package be none that can be imported, and a scheme be one that nobody has opened yet."""
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(_known(), scheme, raising=False)


def _known() -> Any:
    # Where fsspec looks first; `fsspec.registry` itself shows it and lets nothing be taken away again.
    return import_module("fsspec.registry")._registry
