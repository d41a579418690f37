"""The cache keeps within its bound, never at the cost of what is in use, and cleans up after whoever was killed."""

import contextlib
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from services.worker.artifacts.cache import ArtifactCache
from services.worker.domain import ArtifactRef, LoadError
from tests.unit.worker.test_fetch import FILES, reference, write_manifest

SIZE = 20_000
"""Of the largest file of an artifact; all of it is a little more."""


@pytest.fixture
def publish(tmp_path: Path) -> Callable[[int], ArtifactRef]:
    """Publishes artifacts that differ by a number."""

    def make(number: int) -> ArtifactRef:
        folder = tmp_path / f"published-{number}"
        folder.mkdir()
        for name, data in FILES.items():
            (folder / name).write_bytes(data)
        write_manifest(folder, created_by=f"test {number}")
        return reference(folder)

    return make


def kept(root: Path) -> set[str]:
    """Digests of what is there."""
    return {f"sha256:{folder.name}" for folder in (root / "sha256").iterdir()}


def age(cache: Path, artifact: ArtifactRef, seconds: float) -> None:
    """As if it had been used so long ago."""
    folder = cache / "sha256" / artifact.digest.removeprefix("sha256:")
    then = folder.stat().st_mtime - seconds
    os.utime(folder, (then, then))


def test_what_was_used_least_recently_makes_room(tmp_path: Path, publish: Callable[[int], ArtifactRef]) -> None:
    cache = ArtifactCache(tmp_path / "cache", most_bytes=5 * SIZE // 2)
    first, second, third = (publish(number) for number in range(3))
    for place, artifact in enumerate((first, second)):
        cache.fetch(artifact).close()
        age(tmp_path / "cache", artifact, 1000.0 - place)
    cache.fetch(first).close()
    cache.fetch(third).close()
    assert kept(tmp_path / "cache") == {first.digest, third.digest}


def test_without_a_bound_nothing_is_removed(tmp_path: Path, publish: Callable[[int], ArtifactRef]) -> None:
    cache = ArtifactCache(tmp_path / "cache")
    artifacts = [publish(number) for number in range(4)]
    for artifact in artifacts:
        cache.fetch(artifact).close()
    assert kept(tmp_path / "cache") == {artifact.digest for artifact in artifacts}


@pytest.mark.parametrize(("missing", "left"), [(0, {0, 1, 2}), (1, {1, 2}), (SIZE, {1, 2}), (3 * SIZE // 2, {2})])
def test_a_disk_with_too_little_room_loses_what_was_used_least_recently_and_no_more(
    tmp_path: Path, publish: Callable[[int], ArtifactRef], missing: int, left: set[int]
) -> None:
    artifacts, root = [publish(number) for number in range(4)], tmp_path / "cache"
    for place, artifact in enumerate(artifacts[:3]):
        ArtifactCache(root).fetch(artifact).close()
        age(root, artifact, 1000.0 - place)
    coming = artifacts[3]
    ArtifactCache(root, free_bytes=lambda _: coming.size - missing).fetch(coming).close()
    assert kept(root) == {artifacts[number].digest for number in left} | {coming.digest}


def test_a_disk_with_too_little_room_keeps_what_is_in_use(
    tmp_path: Path, publish: Callable[[int], ArtifactRef]
) -> None:
    first, second, third = (publish(number) for number in range(3))
    cache = ArtifactCache(tmp_path / "cache", free_bytes=lambda _: 0)
    held = cache.fetch(first)
    cache.fetch(second).close()
    cache.fetch(third).close()
    assert kept(tmp_path / "cache") == {first.digest, third.digest}
    held.close()


@pytest.mark.parametrize("shared", [False, True])
def test_what_is_in_use_stays_whoever_uses_it(
    tmp_path: Path, publish: Callable[[int], ArtifactRef], shared: bool
) -> None:
    cache = ArtifactCache(tmp_path / "cache", most_bytes=1)
    other = ArtifactCache(tmp_path / "cache", most_bytes=1) if shared else cache
    first, second, third = (publish(number) for number in range(3))
    held = other.fetch(first)
    cache.fetch(second).close()
    assert kept(tmp_path / "cache") == {first.digest, second.digest}
    assert held.folder.is_dir()
    held.close()
    cache.fetch(third).close()
    assert kept(tmp_path / "cache") == {third.digest}


def test_an_artifact_that_nobody_has_any_more_is_not_in_use(
    tmp_path: Path, publish: Callable[[int], ArtifactRef]
) -> None:
    cache = ArtifactCache(tmp_path / "cache", most_bytes=1)
    first, second = publish(1), publish(2)
    cache.fetch(first)
    cache.fetch(second)
    assert kept(tmp_path / "cache") == {second.digest}


def test_what_a_killed_process_left_is_removed_and_its_locks_are_gone(
    tmp_path: Path, publish: Callable[[int], ArtifactRef]
) -> None:
    root, first, second = tmp_path / "cache", publish(1), publish(2)
    code = (
        "import os, pathlib, signal, sys\n"
        "from services.worker.artifacts.cache import ArtifactCache\n"
        "from services.worker.artifacts.locked import scratch_folder\n"
        "from services.worker.domain import ArtifactRef\n"
        "cache = ArtifactCache(pathlib.Path(sys.argv[1]))\n"
        "held = cache.fetch(ArtifactRef(sys.argv[2], sys.argv[3], 0))\n"
        "with scratch_folder(pathlib.Path(sys.argv[1])) as left:\n"
        "    (left / 'program.pt2').write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", code, str(root), first.uri, first.digest]
    assert subprocess.run(command, check=False, timeout=60).returncode < 0
    assert len(list(root.glob(".fetch-*"))) == 1
    ArtifactCache(root, most_bytes=1).fetch(second).close()
    assert kept(root) == {second.digest}
    assert list(root.glob(".*")) == []


def test_a_fetch_under_way_is_not_taken_for_left_behind(tmp_path: Path, publish: Callable[[int], ArtifactRef]) -> None:
    cache = ArtifactCache(tmp_path / "cache", most_bytes=1)
    first, second = publish(1), publish(2)
    waiting, go_on = threading.Event(), threading.Event()

    def slowly() -> bool:
        waiting.set()
        assert go_on.wait(30)
        return False

    found: list[Path] = []
    thread = threading.Thread(target=lambda: found.append(cache.fetch(first, slowly).folder))
    thread.start()
    assert waiting.wait(30)
    cache.fetch(second).close()
    go_on.set()
    thread.join(30)
    assert (found[0] / "program.pt2").read_bytes() == FILES["program.pt2"]


def test_two_that_fetch_the_same_both_have_it(tmp_path: Path, publish: Callable[[int], ArtifactRef]) -> None:
    artifact = publish(1)
    both = threading.Barrier(2)
    met = threading.local()

    def together() -> bool:
        if not getattr(met, "yes", False):
            met.yes = True
            both.wait(30)
        return False

    found: list[Any] = []

    def fetch() -> None:
        found.append(ArtifactCache(tmp_path / "cache").fetch(artifact, together))

    threads = [threading.Thread(target=fetch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len({held.folder for held in found}) == 1
    assert len(found) == 2
    assert list((tmp_path / "cache").glob(".*")) == []


@pytest.fixture
def full_disk() -> Iterator[Callable[[], None]]:
    """From a call on, no file can grow beyond half of an artifact's."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE // 2, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_cannot_be_stored_says_where_and_what_to_do(
    tmp_path: Path, publish: Callable[[int], ArtifactRef], full_disk: Callable[[], None]
) -> None:
    artifact, cache = publish(1), ArtifactCache(tmp_path / "cache")
    full_disk()
    with pytest.raises(LoadError, match=r"program.pt2 cannot be written .*CROSSFADE_ARTIFACT_CACHE") as raised:
        cache.fetch(artifact)
    assert raised.value.transient
    assert kept(tmp_path / "cache") == set()
    assert list((tmp_path / "cache").glob(".*")) == []


def test_another_size_than_published_leaves_what_is_in_use(
    tmp_path: Path, publish: Callable[[int], ArtifactRef]
) -> None:
    artifact = publish(1)
    held = ArtifactCache(tmp_path / "cache").fetch(artifact)
    with pytest.raises(LoadError, match="published were") as raised:
        ArtifactCache(tmp_path / "cache").fetch(ArtifactRef(artifact.uri, artifact.digest, artifact.size + 1))
    assert not raised.value.transient
    assert (held.folder / "program.pt2").read_bytes() == FILES["program.pt2"]


def test_what_cannot_be_read_at_present_is_not_taken_for_damaged(
    tmp_path: Path, publish: Callable[[int], ArtifactRef]
) -> None:
    artifact, cache = publish(1), ArtifactCache(tmp_path / "cache")
    folder = cache.fetch(artifact).folder
    # A name that leads to itself cannot be opened (ELOOP), whoever asks.
    (folder / "golden.npz").rename(tmp_path / "golden.npz")
    (folder / "golden.npz").symlink_to("golden.npz")
    with pytest.raises(LoadError, match=r"golden.npz could not be fetched: OSError") as raised:
        cache.fetch(artifact)
    assert raised.value.transient
    assert kept(tmp_path / "cache") == {artifact.digest}
    (tmp_path / "golden.npz").rename(folder / "golden.npz")
    assert cache.fetch(artifact).folder == folder


def test_a_damaged_copy_in_use_stays_until_a_good_one_takes_its_place(
    tmp_path: Path, publish: Callable[[int], ArtifactRef]
) -> None:
    artifact, cache = publish(1), ArtifactCache(tmp_path / "cache")
    held = cache.fetch(artifact)
    (held.folder / "golden.npz").write_bytes(b"nor golden rowz")
    gone = Path(artifact.uri.removeprefix("file://")).rename(tmp_path / "gone")
    with pytest.raises(LoadError, match="does not exist"):
        cache.fetch(artifact)
    assert (held.folder / "program.pt2").read_bytes() == FILES["program.pt2"]
    gone.rename(artifact.uri.removeprefix("file://"))
    again = cache.fetch(artifact)
    assert again.folder == held.folder
    assert (again.folder / "golden.npz").read_bytes() == FILES["golden.npz"]
    assert list((tmp_path / "cache").glob(".*")) == []


_READ_ONLY: Final = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
"""Runs a command for which a folder lies on a disk that cannot be written; needs mounts of its own."""
_OWN_MOUNTS: Final = ("unshare", "--map-root-user", "--mount")


def _can_mount(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        done = subprocess.run([*_OWN_MOUNTS, "sh", "-c", _READ_ONLY, folder, "true"], check=False, capture_output=True)
        return done.returncode == 0
    return False


def test_what_is_there_is_used_although_its_disk_cannot_be_written(
    tmp_path: Path, publish: Callable[[int], ArtifactRef]
) -> None:
    artifact, root = publish(1), tmp_path / "cache"
    folder = ArtifactCache(root).fetch(artifact).folder
    if not _can_mount(root):
        pytest.skip("this machine lets nobody mount")
    code = (
        "import pathlib, sys\n"
        "from services.worker.artifacts.cache import ArtifactCache\n"
        "from services.worker.domain import ArtifactRef\n"
        "print(ArtifactCache(pathlib.Path(sys.argv[1])).fetch(ArtifactRef(sys.argv[2], sys.argv[3], 0)).folder)\n"
    )
    command = [sys.executable, "-c", code, str(root), artifact.uri, artifact.digest]
    done = subprocess.run(
        [*_OWN_MOUNTS, "sh", "-c", _READ_ONLY, root, *command], check=False, timeout=60, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(folder), done.stderr
