"""Version processes as the supervisor handles them: forked, spoken to over a socket, ended."""

import asyncio
import contextlib
import multiprocessing
import os
import socket
from collections.abc import Iterator
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Final

from services.worker.link import Link
from services.worker.process_config import ChildConfig

_MODULE: Final = "services.worker.preload"
_EXIT_SECONDS: Final = 5.0


class ForkServer:
    """Starts processes as forks of one that has imported torch and grpc, and has neither touched CUDA nor opened a
    channel: 0.2 s instead of 2 s, and 9 MB instead of 150 MB of memory each.

    Args:
        threads: CPU threads of one process.
    """

    def __init__(self, threads: int) -> None:
        self._context: ForkServerContext = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([_MODULE])
        # Read when torch and numpy are imported; torch.set_num_threads bounds the calling thread's work only.
        self._environment = {
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            "OPENBLAS_NUM_THREADS": "1",
            "GRPC_ENABLE_FORK_SUPPORT": "0",
        }
        self._lock = asyncio.Lock()

    def warm_up(self) -> None:
        """Starts the server itself, which imports torch meanwhile; the first `start` does it otherwise."""
        with _environment(self._environment):
            forkserver.ensure_running()

    async def start(self, config: ChildConfig) -> "VersionProcess":
        """Starts the process that loads and serves what `config` names."""
        ours, theirs = socket.socketpair()
        try:
            async with self._lock:
                process = await asyncio.to_thread(self._start, config, theirs)
            link = await Link.open(ours)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return VersionProcess(process, link)

    def _start(self, config: ChildConfig, pipe: socket.socket) -> ForkServerProcess:
        process = self._context.Process(target=_run_child, args=(config, pipe), name=str(config.key), daemon=True)
        with _environment(self._environment):
            process.start()
        return process


def _run_child(config: ChildConfig, pipe: socket.socket) -> None:
    # Imported in the fork server only: the supervisor does without torch.
    from services.worker.child import main

    main(config, pipe)


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Sets variables for the fork server, which inherits them when it starts; those that the user set stay."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


class VersionProcess:
    """The processes of one version and kind of traffic, as the supervisor sees them.

    Attributes:
        link: to the first of them, with which the others end.
    """

    def __init__(self, process: ForkServerProcess, link: Link) -> None:
        self._process = process
        self.link = link

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid or 0

    async def exit_code(self) -> int | None:
        """Waits until it has ended, and kills it when that takes long after it fell silent."""
        self.link.close()
        await asyncio.to_thread(self._process.join, _EXIT_SECONDS)
        if self._process.exitcode is None:
            self.kill()
            await asyncio.to_thread(self._process.join)
        return self._process.exitcode

    def kill(self) -> None:
        """Ends it at once."""
        if self._process.is_alive():
            self._process.kill()
