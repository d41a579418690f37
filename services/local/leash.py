"""Runs a command that is told to end when its parent does: `python leash.py PARENT COMMAND ...`.

A process by itself, since the alternative, Python code between fork and exec, is unsafe where other threads hold locks:
a parent with gRPC's threads lost a child there now and then. This one has a single thread, and the kernel keeps the
signal over exec (prctl(2), PR_SET_PDEATHSIG). It imports nothing of the project, so that it starts in milliseconds.
"""

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def main(parent: int, command: list[str]) -> None:
    """Becomes `command`, on the leash of `parent`."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(f"process {parent} ended before its child had started")
    os.execv(command[0], command)  # noqa: S606 # that is what it is for


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
