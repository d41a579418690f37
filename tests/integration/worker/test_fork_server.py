"""The server that versions' processes are forked from."""

import asyncio
import contextlib
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from services.common import polling
from services.worker.settings import WorkerSettings
from services.worker.supervisor.process import ForkServer, end_server
from tests.fakes.models import reference_rows
from tests.integration.worker.conftest import Caller
from tests.integration.worker.versions import Versions
from tests.support.wait import until


async def test_a_fork_server_that_does_not_answer_is_replaced_and_its_forks_live_on(versions: Versions) -> None:
    before = await versions.ready("v1")
    server = psutil.Process(before.pid).parent()
    assert server is not None
    server.suspend()
    versions.forks = ForkServer(threads=1, limit_seconds=0.5)
    with pytest.raises(OSError, match=r"did not answer within 0\.5 s, and was ended"):
        await versions.start("v2")
    versions.forks = ForkServer(threads=1)
    await versions.ready("v2")
    caller = Caller(versions.address("v1"))
    await caller.predict(reference_rows(1))
    await caller.channel.close()
    # multiprocessing takes it for ended by now.
    before.kill()
    await before.exit_code()
    # Whoever took it over need not have asked for its status.
    assert not psutil.pid_exists(before.pid) or psutil.Process(before.pid).status() == psutil.STATUS_ZOMBIE


class _SlowlyPickled:
    """Stands in for a config."""

    key = "slow"
    cores: frozenset[int] = frozenset()
    settings = WorkerSettings()

    def __init__(self) -> None:
        self.pickling, self.go_on = threading.Event(), threading.Event()

    def __reduce__(self) -> tuple[Any, ...]:
        self.pickling.set()
        assert self.go_on.wait(30)
        return SimpleNamespace, ()


async def test_a_start_that_is_cancelled_leaves_the_fork_server_to_others(versions: Versions) -> None:
    server = psutil.Process((await versions.start("v1")).pid).ppid()
    config: Any = _SlowlyPickled()
    starting = asyncio.create_task(versions.forks.start(config))
    await until(config.pickling.is_set)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    config.go_on.set()
    await until(lambda: all(one.name != "fork" for one in threading.enumerate()))
    assert psutil.Process((await versions.start("v2")).pid).ppid() == server


def _tidy_up(folder: Path, whole: bool) -> None:
    for left in folder.iterdir():
        left.unlink()
    if whole:
        folder.rmdir()


@pytest.mark.parametrize("whole", [False, True])
async def test_a_fork_server_whose_socket_was_tidied_up_is_replaced(versions: Versions, whole: bool) -> None:
    await versions.ready("v1")
    _tidy_up(Path(util.get_temp_dir()), whole)
    await versions.ready("v2")
    caller = Caller(versions.address("v1"))
    await caller.predict(reference_rows(1))
    await caller.channel.close()


def descriptors() -> dict[int, str]:
    """This process's, and what they are of."""
    found = {}
    for one in Path("/proc/self/fd").iterdir():
        # That of the folder itself is gone by now.
        with contextlib.suppress(FileNotFoundError):
            found[int(one.name)] = str(one.readlink())
    return found


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """This process may open so many more meanwhile, and no others."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    null = os.open(os.devnull, os.O_RDONLY)
    filling = [null]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(descriptors()) + 50, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                filling.append(os.dup(null))
        for _ in range(count):
            os.close(filling.pop())
        yield
    finally:
        for one in filling:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_where_descriptors_are_too_few_none_is_lost_and_the_fork_server_lives_on(versions: Versions) -> None:
    server = psutil.Process((await versions.start("v1")).pid).ppid()
    address = versions.address("v1")
    opened = descriptors()
    for left in range(8):
        with descriptors_left(left), pytest.raises(OSError, match="Too many open files"):
            await versions.start("v2", address)
        # Those of earlier tests may close meanwhile.
        await until(lambda: descriptors().items() <= opened.items())
    assert psutil.Process((await versions.start("v2", address)).pid).ppid() == server


async def test_threads_that_a_setting_asks_for_go_before_the_environment(
    versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    said = []
    for own in (False, True):
        end_server()
        versions.forks = ForkServer(threads=3, own=own)
        process = await versions.start(f"v{own:d}")
        server = psutil.Process(process.pid).parent()
        assert server is not None
        said.append(server.environ()["OMP_NUM_THREADS"])
    assert said == ["7", "3"]
    assert os.environ["OMP_NUM_THREADS"] == "7"


async def test_versions_wait_for_sockets_on_grpc_aio_s_own_thread_unless_the_environment_says_otherwise(
    versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    for experiments in (None, "-event_engine_dns"):
        if experiments is None:
            monkeypatch.delenv(polling.VARIABLE, raising=False)
        else:
            monkeypatch.setenv(polling.VARIABLE, experiments)
        end_server()
        versions.forks = ForkServer(threads=1, own=True)
        process = await versions.start(f"v{len(said)}")
        server = psutil.Process(process.pid).parent()
        assert server is not None
        said.append(server.environ()[polling.VARIABLE])
    assert said == [polling.IN_PLACE, "-event_engine_dns"]
