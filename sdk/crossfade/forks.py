"""Clients in a process that is forked, as by gunicorn --preload, Celery's prefork or multiprocessing.

gRPC's connections and threads stay the parent's. A channel that a child inherits may hold locks of threads that the
child does not have, and a call by it then waits for them for ever, whatever its timeout: so a child opens channels of
its own. gRPC itself goes on in a child if no thread was in a call at the fork; so a fork waits a moment for those that
are, and where that is in vain, or gRPC does not go on all the same, the child's first call says so.

What is known of the parent is said at once. What other libraries did with gRPC there is not known, and is tried: but
where gRPC waits for a lock of the parent's, it may hold the interpreter's meanwhile, and then nothing can be said.
"""

import ctypes
import os
import threading
import weakref
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

import grpc

_WAIT_SECONDS: Final = 1.0
"""How long a fork waits for calls that are under way, and calls that begin for the fork."""
_TRIAL_SECONDS: Final = 5.0
"""How long gRPC may take to give up a call at once: some milliseconds where it works."""
_SETTING: Final = "GRPC_ENABLE_FORK_SUPPORT"
_OFF: Final = frozenset({"0", "f", "false", "n", "no"})
"""As gRPC reads its settings."""
_NOBODY: Final = "unix:/nonexistent/crossfade"
"""Where nothing answers, and nothing is asked beyond the file system."""
_REMEDY: Final = (
    "make no call before the fork (gunicorn: without --preload), or start its processes by "
    'multiprocessing.get_context("spawn") or "forkserver"'
)

Channel = grpc.Channel | grpc.aio.Channel


class ClientForkedError(RuntimeError):
    """gRPC does not go on in this process, which was forked while its parent used it."""


class _Process:
    """What this process knows of forks: of those that it comes from, and of its own.

    Attributes:
        count: how many it comes from.
        used: whether a channel was opened, here or in one that it comes from.
        lock: held while a channel is opened or closed.
        channels: those that are open.
        fault: why gRPC does not work here; empty: it does; None: that is yet to be tried.
        aio_fault: the same of gRPC for asyncio alone.
    """

    def __init__(self) -> None:
        self.count = 0
        self.used = False
        self.fault: str | None = ""
        self.aio_fault = ""
        self._begin()

    def _begin(self) -> None:
        self.lock = threading.RLock()
        self.channels: weakref.WeakSet[Channel] = weakref.WeakSet()
        self._turn = threading.Condition()
        self._calls = 0
        self._forks = 0

    @contextmanager
    def calling(self) -> Generator[None, None, None]:
        with self._turn:
            self._turn.wait_for(lambda: not self._forks)
            self._calls += 1
        try:
            yield
        finally:
            with self._turn:
                self._calls -= 1
                self._turn.notify_all()

    def before(self) -> None:
        """Runs before each fork, and keeps the turn until it is over."""
        self._turn.acquire()
        self._forks += 1
        self._turn.wait_for(lambda: not self._calls, _WAIT_SECONDS)

    def after(self) -> None:
        """Runs in the parent."""
        self._forks -= 1
        self._turn.notify_all()
        self._turn.release()

    def begin_child(self) -> None:
        """Runs in the child, which has this one thread: other threads may have held the locks."""
        self.count += 1
        # What does not work in a process works in none that is forked from it.
        self.fault = self.fault or self._fault()
        for channel in self.channels:
            if isinstance(channel, grpc.aio.Channel):
                # Its thread is within gRPC all the time.
                self.aio_fault = "this process was forked while an AsyncClient was in use"
            # Its end would wait for threads of the parent, or crash. Nothing that Python clears as it ends may own it.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(channel))
        self._begin()

    def _fault(self) -> str | None:
        if self._calls:
            return "this process was forked amid calls"
        if self.used and os.environ.get(_SETTING, "").lower() in _OFF:
            return f"this process was forked while gRPC was in use, which hangs then with {_SETTING} off (unset it)"
        return None


_process: Final = _Process()
os.register_at_fork(before=_process.before, after_in_parent=_process.after, after_in_child=_process.begin_child)


def count() -> int:
    """How many forks this process comes from; a channel is of use only where it was opened."""
    return _process.count


def opening() -> threading.RLock:
    """The lock to hold while a channel is opened or closed: a child never finds it held."""
    return _process.lock


def calling() -> AbstractContextManager[None]:
    """Around a call that blocks: a fork waits for its end, and it waits for the end of a fork."""
    return _process.calling()


def require_grpc(*, aio: bool = False) -> None:
    """Before a channel is opened: that gRPC works in this process, which is tried in one that was forked.

    Args:
        aio: whether the channel is for asyncio.

    Raises:
        ClientForkedError: it does not.
    """
    if _process.fault is None:
        _process.fault = _try()
    fault = _process.fault or (_process.aio_fault if aio else "")
    if fault:
        raise ClientForkedError(f"{fault}: {_REMEDY}")


def opened(channel: Channel) -> None:
    """Notes a channel that is open."""
    _process.used = True
    _process.channels.add(channel)


def closed(channel: Channel) -> None:
    """Forgets one that is not."""
    _process.channels.discard(channel)


def _try() -> str:
    """Answers why gRPC does not work here; empty: it does."""
    ended = threading.Event()

    def call() -> None:
        with grpc.insecure_channel(_NOBODY) as channel:
            method: Any = channel.unary_unary("/crossfade/Try")
            try:
                method(b"", timeout=_TRIAL_SECONDS)
            except grpc.RpcError:
                ended.set()

    # A call that hangs cannot be ended, nor could this thread.
    threading.Thread(target=call, name="crossfade-fork", daemon=True).start()
    return "" if ended.wait(_TRIAL_SECONDS) else "this process was forked while gRPC was in use, which hangs since then"
