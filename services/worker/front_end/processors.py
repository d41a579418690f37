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
    """Lowers this thread's priority for good (nice(2)); with `cores` all of the process's threads run on any of them
    from now on: a version's engine finds no processor to itself while each has a front-end that stays there.
    """
    os.nice(_LOWER)
    if cores is None:
        return
    for thread in _THREADS.iterdir():
        # It may have ended.
        with contextlib.suppress(OSError):
            os.sched_setaffinity(int(thread.name), cores)
