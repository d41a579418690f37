"""Whether a process's forks can use a GPU still after it has done something.

Once a process has asked CUDA for anything, none of its forks has a GPU ("CUDA semantics", "Poison fork in
multiprocessing"), and torch asks in places that change from release to release. No process can tell of itself what it
has asked; its forks can.
"""

import os
import signal
from collections.abc import Callable
from typing import Final

_FAILED: Final = 255


def is_harmless(act: Callable[[], object], count_gpus: Callable[[], int]) -> bool:
    """Whether a fork of this process would count as many GPUs after `act` as it does now, or there are none.

    All is done in forks: this process neither acts nor counts. It must have one thread. Where nothing can be counted,
    nothing is known, and so it is not harmless.

    Args:
        act: what is to be tried; if it raises, it is harmful.
        count_gpus: asks CUDA.
    """

    def acted_and_counted() -> int:
        act()
        counted = _in_fork(count_gpus)
        if counted is None:
            raise RuntimeError("nothing was counted")
        return counted

    wanted = _in_fork(count_gpus)
    return wanted == 0 or (wanted is not None and _in_fork(acted_and_counted) == wanted)


def _in_fork(count: Callable[[], int]) -> int | None:
    """What a fork counts, at most 254; None: it raised, or was ended."""
    # A launcher may have had children's ends ignored, and then nobody is told of them.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        code = _FAILED
        try:
            code = min(count(), _FAILED - 1)
        finally:
            # Whatever was raised: the rest of the program is the parent's to run.
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if 0 <= code < _FAILED else None
