"""Version processes as the supervisor handles them: forked, spoken to over a socket, ended."""

import asyncio
import contextlib
import errno
import multiprocessing
import os
import select
import signal
import socket
from collections.abc import Collection
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Final

from services.common import polling
from services.common.descriptors import limit
from services.common.environment import environment
from services.common.threads import on_thread
from services.worker.pipes.link import Link
from services.worker.process_config import ChildConfig

_MODULE: Final = "services.worker.version.preload"
_EXIT_SECONDS: Final = 5.0
_DESCRIPTORS: Final = 5
"""What multiprocessing opens to start a process."""
_OF_A_VERSION: Final = 48
_OF_A_FRONT_END: Final = 4
"""What each process of a version needs to be let have: for gRPC, for a few connections, and for the pipes of all
front-ends, of which each holds those of the others until it has begun. With fewer one ends by a signal (of 2 front-ends
below 30), or says that it lacks memory.
"""


class ForkServer:
    """Starts processes as forks of one that has imported torch and grpc, and has neither touched CUDA nor opened a
    channel: 0.2 s instead of 2 s, and 9 MB instead of 150 MB of memory each.

    Args:
        threads: CPU threads of one process.
        limit_seconds: when it does not answer for so long, it is ended, and the next start begins another one.
        own: `threads` goes before what the environment says to OpenMP and MKL.
    """

    def __init__(self, threads: int, limit_seconds: float = 300.0, *, own: bool = False) -> None:
        self._limit_seconds = limit_seconds
        self._context: ForkServerContext = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([_MODULE])
        # Read when torch and numpy are imported; torch.set_num_threads bounds the calling thread's work only.
        self._environment = {
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            "OPENBLAS_NUM_THREADS": "1",
            "GRPC_ENABLE_FORK_SUPPORT": "0",
        }
        if not own:
            # What the user set there stays.
            self._environment = {name: os.environ.get(name, value) for name, value in self._environment.items()}
        self._environment[polling.VARIABLE] = os.environ.get(polling.VARIABLE, polling.IN_PLACE)
        self._lock = asyncio.Lock()

    def warm_up(self) -> None:
        """Starts the server itself, which imports torch meanwhile; the first `start` does it otherwise."""
        with environment(self._environment):
            _ensure_server()

    async def start(self, config: ChildConfig) -> "VersionProcess":
        """Starts the process that loads and serves what `config` names.

        Raises:
            OSError: it cannot be started.
            EOFError: the fork server has ended.
        """
        ours, theirs = socket.socketpair()
        try:
            async with self._lock:
                process = await self._fork(config, theirs)
            return VersionProcess(process, await Link.open(ours))
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()

    async def _fork(self, config: ChildConfig, pipe: socket.socket) -> ForkServerProcess:
        # The thread's own: when this is cancelled, the thread may yet be about to send it, by its number.
        sent = pipe.dup()
        starting = asyncio.ensure_future(on_thread(lambda _: self._start(config, sent), "fork"))
        try:
            answered, _ = await asyncio.wait({starting}, timeout=self._limit_seconds)
            if not answered:
                await on_thread(lambda _: end_server(), "fork server")
                # Its end is what the thread hears; until then the environment is not as it was.
                await asyncio.wait({starting})
        except asyncio.CancelledError:
            starting.cancel()
            raise
        if not answered and starting.exception() is not None:
            raise OSError(f"the process that forks did not answer within {self._limit_seconds:g} s, and was ended")
        return starting.result()

    def _start(self, config: ChildConfig, pipe: socket.socket) -> ForkServerProcess:
        process = self._context.Process(target=_run_child, args=(config, pipe), name=str(config.key), daemon=True)
        with pipe, environment(self._environment):
            _check_descriptors(pipe, config.settings.front_ends)
            _end_lost_server()
            _ensure_server()
            # The fork is a part of the load, and not to be paid for by versions on other processors.
            _run_server_on(config.cores or os.sched_getaffinity(0))
            process.start()
        return process


def _check_descriptors(pipe: socket.socket, front_ends: int) -> None:
    """Sees that there are enough for a start, here and in what is started, which may have as many as this process.

    Where one is missing midway, multiprocessing leaves two others open at each attempt, and ends the fork server by a
    connection that says nothing; and a version would be taken to crash.

    Raises:
        OSError: there are too few.
    """
    needed, may = _OF_A_VERSION + _OF_A_FRONT_END * front_ends, limit()
    if 0 <= may < needed:
        raise OSError(errno.EMFILE, f"each of its processes needs {needed} file descriptors and may have {may}")
    with contextlib.ExitStack() as opened:
        for _ in range(_DESCRIPTORS):
            opened.enter_context(pipe.dup())


def _server() -> int | None:
    # There is no public way.
    pid: int | None = vars(forkserver._forkserver)["_forkserver_pid"]  # noqa: SLF001
    return pid


def _ensure_server() -> None:
    """Starts the fork server if it does not run.

    Neither it nor its forks hear of Ctrl-C, which reaches the whole process group: the supervisor decides on it.
    """
    # Started together with the other, it would let the signal through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run_server_on(cores: Collection[int]) -> None:
    """Has the fork server run on these processors, and what it forks from the beginning."""
    pid = _server()
    if pid is not None:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(pid, cores)


def _end_lost_server() -> None:
    """Ends the fork server if nobody finds it any more: its socket lies among the machine's temporary files, of which
    some machines remove the old ones.
    """
    address: str | None = vars(forkserver._forkserver)["_forkserver_address"]  # noqa: SLF001 - as above
    if address is None or Path(address).exists():
        return
    end_server()
    try:
        # The next one's socket lies there too.
        Path(address).parent.mkdir(mode=0o700)
    except FileExistsError:
        # It may be somebody else's by now: multiprocessing makes another one.
        vars(multiprocessing.current_process())["_config"].pop("tempdir", None)


def end_server() -> None:
    """Ends the fork server, whose forks live on; multiprocessing begins another one when it finds it ended.

    Left to itself it ends with this process, but not before it has imported everything, which may take many seconds.
    """
    pid = _server()
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
        # Not taken from multiprocessing, which asks for it.
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def _run_child(config: ChildConfig, pipe: socket.socket) -> None:
    # Imported in the fork server only: the supervisor does without torch.
    from services.worker.version.child import main

    main(config, pipe)


class VersionProcess:
    """The processes of one version and kind of traffic, as the supervisor sees them.

    Attributes:
        link: to the first of them, with which the others end.
    """

    def __init__(self, process: ForkServerProcess, link: Link) -> None:
        self._process = process
        # A file that stands for it (pidfd_open(2)); multiprocessing takes it for ended when the fork server is.
        self._handle: int | None = None
        with contextlib.suppress(ProcessLookupError):
            self._handle = os.pidfd_open(process.pid or 0)
        self.link = link

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid or 0

    async def exit_code(self) -> int | None:
        """Waits until it has ended, and kills it when that takes long after it fell silent."""
        self.link.close()
        if not await asyncio.to_thread(self._has_ended, _EXIT_SECONDS):
            self.kill()
        # The fork server says so; one that hangs is not waited for, and replaced.
        await asyncio.to_thread(self._process.join, _EXIT_SECONDS)
        if self._process.exitcode is None:
            await asyncio.to_thread(end_server)
            await asyncio.to_thread(self._process.join, _EXIT_SECONDS)
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
        return self._process.exitcode

    def kill(self) -> None:
        """Ends it at once."""
        if self._handle is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def _has_ended(self, seconds: float) -> bool:
        """Waits for its end for at most so long."""
        if self._handle is None:
            return True
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        return bool(poll.poll(seconds * 1e3))
