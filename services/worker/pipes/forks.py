"""Further processes of a version, forked from its first one before that has threads, channels or a device."""

import ctypes
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Final, NamedTuple

_PR_SET_PDEATHSIG: Final = 1


class Fork(NamedTuple):
    """A process that this one has forked.

    Attributes:
        pid: its process id.
        pipe: this process's end of a pipe between them.
    """

    pid: int
    pipe: socket.socket

    def end(self) -> str:
        """Ends it if it has not ended, and answers how it ended, as the end of a sentence."""
        # A process that is ending keeps the status that it ends with.
        os.kill(self.pid, signal.SIGKILL)
        return ending(os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]))


def ending(code: int) -> str:
    """How a process ended, as the end of a sentence. `code`: below 0 the number of the signal that ended it."""
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def fork(work: Callable[[socket.socket], None]) -> Fork:
    """Runs `work` in a process of its own, with the other end of the pipe; it ends with this process."""
    ours, theirs = socket.socketpair()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        theirs.close()
        return Fork(pid, ours)
    code = 1
    try:
        ours.close()
        # Whoever ends a whole group of processes means the parent, which ends in order and this one with it.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _end_with(parent)
        work(theirs)
        code = 0
    except BaseException:  # noqa: BLE001 - the parent's stack is in this process too, and must not go on here
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _end_with(parent: int) -> None:
    """Has the kernel kill this process when the thread ends that forked it (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
