"""Where a front-end's threads run, and how much of it they ask for."""

import contextlib
import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

_LOWER: Final = 10
_THREADS: Final = Path("/proc/self/task")


def stay_on(core: int) -> None:
    """Has this process, of which all threads are yet to begin, stay on one processor.

    A call goes through two threads of a front-end: where they are on one processor, no other one has to be woken each
    time.
    """
    # It may have been taken from the Worker meanwhile: any other does as well.
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, {core})


def give_way(cores: Collection[int] | None) -> None:
    """Lowers this thread's priority for good (nice(2)), and stays on one processor no longer: a version's engine finds
    none to itself while each has a front-end that stays there.

    Args:
        cores: where all of the process's threads run from now on; empty: on any; None: where they do now.
    """
    os.nice(_LOWER)
    if cores is None:
        return
    # Those that the container has no share of are left out by the kernel.
    anywhere = cores or range(os.cpu_count() or 1)
    for thread in _THREADS.iterdir():
        # It may have ended.
        with contextlib.suppress(OSError):
            os.sched_setaffinity(int(thread.name), anywhere)
