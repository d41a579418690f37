"""Whether a process's forks can use a GPU still after it has done something.

Once a process has asked CUDA for anything, none of its forks has a GPU ("CUDA semantics", "Poison fork in
multiprocessing"), and torch asks in places that change from release to release. No process can tell of itself what it
has asked; its forks can.
"""

import os
from collections.abc import Callable
from typing import Final

_FAILED: Final = 255


def is_harmless(act: Callable[[], object], count_gpus: Callable[[], int]) -> bool:
    """Whether a fork of this process would count as many GPUs after `act` as it does now.

    All is done in forks: this process neither acts nor counts. It must have one thread.

    Args:
        act: what is to be tried; if it raises, it is harmful.
        count_gpus: asks CUDA.
    """

    def acted_and_counted() -> int:
        act()
        return _in_fork(count_gpus)

    wanted = _in_fork(count_gpus)
    return wanted == 0 or _in_fork(acted_and_counted) == wanted


def _in_fork(count: Callable[[], int]) -> int:
    """What a fork counts, at most 254; 255: it raised; below 0: the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        code = _FAILED
        try:
            code = min(count(), _FAILED - 1)
        finally:
            # Whatever was raised: the rest of the program is the parent's to run.
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
