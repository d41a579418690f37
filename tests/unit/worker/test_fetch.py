"""Artifacts into the cache: whole and unaltered, or refused with what differs."""

import errno
import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from crossfade.manifest import MANIFEST_FILE
from services.worker.artifacts.cache import ArtifactCache
from services.worker.artifacts.fetch import _storing
from services.worker.artifacts.sources import check_source
from services.worker.domain import ArtifactRef, LoadError
from services.worker.settings import WorkerSettings

FILES = {"program.pt2": b"not really a program" * 1000, "golden.npz": b"nor golden rows"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return publish(tmp_path / "published")


def publish(folder: Path) -> Path:
    """Makes an artifact's folder."""
    folder.mkdir()
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    write_manifest(folder)
    return folder


def write_manifest(folder: Path, **changes: object) -> None:
    files = [
        {"path": name, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for name, data in FILES.items()
    ]
    spec = {"name": "x", "dtype": "FP32", "shape": [-1, 2]}
    manifest = {
        "format_version": 1,
        "created_by": "test",
        "kind": "torch.export",
        "torch": "2.13",
        "program": "program.pt2",
        "task": "other",
        "signature": {"inputs": [spec], "outputs": [spec]},
        "max_batch": 8,
        "classes": None,
        "positive_class": None,
        "scores": None,
        "profile": None,
        "golden": {"file": "golden.npz", "rows": 1},
        "tolerance": {"rtol": 0.01, "atol": 0.01},
        "files": files,
        **changes,
    }
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))


def reference(folder: Path) -> ArtifactRef:
    data = (folder / MANIFEST_FILE).read_bytes()
    size = len(data) + sum(len(one) for one in FILES.values())
    return ArtifactRef(folder.as_uri(), "sha256:" + hashlib.sha256(data).hexdigest(), size)


def refusal(cache: ArtifactCache, artifact: ArtifactRef) -> LoadError:
    with pytest.raises(LoadError) as raised:
        cache.fetch(artifact)
    return raised.value


def left_behind(root: Path) -> list[Path]:
    return [path for path in root.glob("**/*") if path.is_file()]


def test_fetches_once_and_keeps(source: Path, tmp_path: Path) -> None:
    artifact = reference(source)
    cache = ArtifactCache(tmp_path / "cache")
    held = cache.fetch(artifact)
    folder = held.folder
    assert folder.name == artifact.digest.removeprefix("sha256:")
    assert folder.parent.name == "sha256"
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != MANIFEST_FILE} == FILES
    assert held.manifest.max_batch == 8
    shutil.rmtree(source)
    again = cache.fetch(artifact)
    assert (again.folder, again.manifest) == (folder, held.manifest)


def test_folders_may_have_any_name(source: Path, tmp_path: Path) -> None:
    source = source.rename(tmp_path / "100% of söme #1 models? a::b *")
    artifact = reference(source)
    cache = ArtifactCache(tmp_path / "a cache")
    folder = cache.fetch(artifact).folder
    assert (folder / "golden.npz").read_bytes() == FILES["golden.npz"]
    shutil.rmtree(source)
    assert cache.fetch(artifact).folder == folder


def test_a_damaged_copy_in_the_cache_is_fetched_again(source: Path, tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path / "cache")
    folder = cache.fetch(reference(source)).folder
    (folder / "golden.npz").write_bytes(b"nor golden rowz")
    again = cache.fetch(reference(source)).folder
    assert (again / "golden.npz").read_bytes() == FILES["golden.npz"]


def test_a_copy_in_the_cache_that_has_lost_a_file_is_fetched_again(source: Path, tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path / "cache")
    for name in (*FILES, MANIFEST_FILE):
        (cache.fetch(reference(source)).folder / name).unlink()
        assert (cache.fetch(reference(source)).folder / name).is_file()


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("program.pt2", FILES["program.pt2"] + b"x", "longer than the 20000 bytes"),
        ("program.pt2", b"N" + FILES["program.pt2"][1:], "was altered: its SHA-256 is"),
        (MANIFEST_FILE, b"{}", "is not the published one: its digest is"),
    ],
)
def test_what_was_changed_is_refused_and_nothing_is_kept(
    source: Path, tmp_path: Path, name: str, data: bytes, words: str
) -> None:
    artifact = reference(source)
    (source / name).write_bytes(data)
    error = refusal(ArtifactCache(tmp_path / "cache"), artifact)
    assert words in str(error)
    assert name in str(error)
    assert not error.transient
    assert left_behind(tmp_path / "cache") == []


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("program.pt2", 19_999, "cut short: it has 19999 of 20000 bytes"),
        ("golden.npz", 0, "cut short: it has 0 of 15 bytes"),
        (MANIFEST_FILE, 200, "is not the published one: its digest is"),
        (MANIFEST_FILE, 0, "is not the published one: its digest is"),
    ],
)
def test_what_was_cut_short_is_tried_again(source: Path, tmp_path: Path, name: str, size: int, words: str) -> None:
    artifact = reference(source)
    os.truncate(source / name, size)
    error = refusal(ArtifactCache(tmp_path / "cache"), artifact)
    assert words in str(error)
    assert error.transient
    assert left_behind(tmp_path / "cache") == []


def test_what_is_missing_may_come_back(source: Path, tmp_path: Path) -> None:
    artifact = reference(source)
    (source / "golden.npz").unlink()
    error = refusal(ArtifactCache(tmp_path / "cache"), artifact)
    assert "golden.npz does not exist" in str(error)
    assert error.transient


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "a/b", "..", "model.json", ""])
def test_paths_that_leave_the_folder_are_refused(source: Path, tmp_path: Path, path: str) -> None:
    entries = [{"path": path, "sha256": "0" * 64, "size": 1}]
    write_manifest(source, files=entries, program=path, golden={"file": path, "rows": 1})
    error = refusal(ArtifactCache(tmp_path / "cache"), reference(source))
    assert "path" in str(error)


@pytest.mark.parametrize("uri", ["/no/scheme", "memory://x", "simplecache::file:///x", "zip://a::file:///b", ""])
def test_addresses_that_workers_do_not_read(uri: str, tmp_path: Path) -> None:
    error = refusal(ArtifactCache(tmp_path), ArtifactRef(uri, "sha256:" + "0" * 64, 0))
    assert "is not one that Workers read" in str(error)


@pytest.mark.parametrize(
    "uri",
    [
        # The rest of the path would be a query, or no part of the address.
        "http://169.254.169.254/latest/user-data?x=",
        "http://169.254.169.254/latest/user-data#",
        "https://me:secret@artifacts.example/v1",
        "https://account.blob.core.windows.net/v1?sv=2022&sig=secret",
        "https://artifacts.example/v1#secret",
        "sftp://me:secret@host/v1",
        "simplecache::https://me:secret@artifacts.example/v1",
        "https://me:secret@ex\u2100mple/v1",
        "https://[me:secret@host/v1",
        "abfs://models:secret@account.dfs.core.windows.net/churn/v7",
        "https://artifacts.example/prod/../other/v1",
        "https://artifacts.example/prod/%2e%2e/other/v1",
        "http://[::1",
    ],
)
def test_addresses_that_lead_elsewhere(uri: str, tmp_path: Path) -> None:
    error = str(refusal(ArtifactCache(tmp_path), ArtifactRef(uri, "sha256:" + "0" * 64, 0)))
    assert error.startswith("its address")
    assert "secret" not in error


@pytest.mark.parametrize(
    ("allowed", "uri", "read"),
    [
        ("s3://models", "s3://models/churn/v1", True),
        ("s3://models/", "s3://models/churn/v1/", True),
        ("s3://models", "s3://models-of-others/churn/v1", False),
        ("https://a.example/prod", "http://a.example/prod/v1", False),
        ("https://a.example/prod", "https://a.example/prod", True),
        ("https://a.example/prod", "https://a.example/test/v1", False),
        ("s3://other, s3://models", "s3://models/churn/v1", True),
        ("", "https://anywhere.example/v1", True),
        ("", "abfs://models@account.dfs.core.windows.net/churn/v7", True),
        ("abfs://models@account.dfs.core.windows.net", "abfs://models@account.dfs.core.windows.net/churn/v7", True),
    ],
)
def test_addresses_that_this_worker_reads(*, allowed: str, uri: str, read: bool) -> None:
    sources = WorkerSettings(artifact_sources=allowed).allowed_sources
    if read:
        check_source(uri, sources)
    else:
        with pytest.raises(LoadError, match="CROSSFADE_ARTIFACT_SOURCES"):
            check_source(uri, sources)


def test_the_cache_gives_nothing_from_elsewhere(tmp_path: Path, source: Path) -> None:
    ArtifactCache(tmp_path / "cache").fetch(reference(source))
    error = refusal(ArtifactCache(tmp_path / "cache", sources=["s3://models"]), reference(source))
    assert "lies under none of those" in str(error)
    assert not error.transient


def test_a_digest_of_another_form(tmp_path: Path) -> None:
    for digest in ("", "sha256:../../x", "md5:" + "0" * 64, "sha256:" + "A" * 64):
        assert "is not sha256:" in str(refusal(ArtifactCache(tmp_path), ArtifactRef("file:///x", digest, 0)))


def test_another_size_than_published(source: Path, tmp_path: Path) -> None:
    artifact = reference(source)
    other = ArtifactRef(artifact.uri, artifact.digest, artifact.size + 1)
    assert "published were" in str(refusal(ArtifactCache(tmp_path / "cache"), other))


def test_what_is_not_read_in_time_stays_in_the_cache(tmp_path: Path, source: Path) -> None:
    cache = ArtifactCache(tmp_path / "cache")
    folder = cache.fetch(reference(source)).folder
    with pytest.raises(LoadError) as caught:
        cache.fetch(reference(source), lambda: True)
    assert caught.value.transient
    assert cache.fetch(reference(source)).folder == folder


def test_who_has_no_file_descriptor_left_is_not_told_to_make_room(tmp_path: Path) -> None:
    full = OSError(errno.EMFILE, "Too many open files")
    told = r"Too many open files.: the Worker needs more file descriptors .*ulimit -n"
    with pytest.raises(LoadError, match=told), _storing(tmp_path / "program.pt2"):
        raise full
