"""Version processes as the supervisor handles them: forked, spoken to over a socket, ended."""

import asyncio
import contextlib
import multiprocessing
import os
import socket
from collections.abc import AsyncIterator, Iterator
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Final

from services.common.telemetry.store import Snapshot
from services.worker import messages
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
            reader, writer = await asyncio.open_connection(sock=ours)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return VersionProcess(process, reader, writer)

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
    """One running process."""

    def __init__(self, process: ForkServerProcess, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._number = 0
        self._waiting: dict[int, asyncio.Future[list[Snapshot] | None]] = {}
        self.last_counts: list[Snapshot] | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid or 0

    def send(self, message: messages.Message) -> None:
        """Sends an order; one to a process that has gone is lost."""
        if not self._writer.is_closing():
            self._writer.write(messages.pack(message))

    async def counts(self, timeout_seconds: float) -> list[Snapshot] | None:
        """What it has counted since its start; None when it does not answer in time."""
        self._number += 1
        number = self._number
        future: asyncio.Future[list[Snapshot] | None] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self.send(messages.Count(number))
            async with asyncio.timeout(timeout_seconds):
                return await future
        except TimeoutError:
            return None
        finally:
            self._waiting.pop(number, None)

    async def reports(self) -> AsyncIterator[messages.Ready | messages.Failed]:
        """What it reports, until it ends; answers to `counts` are handed out on the way."""
        with contextlib.suppress(ValueError):
            while (frame := await messages.read(self._reader)) is not None:
                message, binary = frame
                if isinstance(message, messages.Counts):
                    self._counted(message, binary)
                elif isinstance(message, messages.Ready | messages.Failed):
                    yield message
        self._give_up()

    def _counted(self, message: messages.Counts, binary: bytes) -> None:
        self.last_counts = messages.unpack_counts(message, binary)
        future = self._waiting.pop(message.number, None)
        if future is not None and not future.done():
            future.set_result(self.last_counts)

    def _give_up(self) -> None:
        for future in self._waiting.values():
            if not future.done():
                future.set_result(None)

    async def exit_code(self) -> int | None:
        """Waits until it has ended, and kills it when that takes long after it fell silent."""
        self._writer.close()
        await asyncio.to_thread(self._process.join, _EXIT_SECONDS)
        if self._process.exitcode is None:
            self.kill()
            await asyncio.to_thread(self._process.join)
        return self._process.exitcode

    def kill(self) -> None:
        """Ends it at once."""
        if self._process.is_alive():
            self._process.kill()
