"""What memory a process has to itself, and what a version may take."""

import os
import re
from pathlib import Path
from typing import Final, NamedTuple

from services.worker.version.machine_memory import usable_bytes

_PRIVATE: Final = re.compile(rb"^Private_(?:Clean|Dirty): +(\d+) kB", re.MULTILINE)


class Bound(NamedTuple):
    """What a version's engine may take for itself.

    Attributes:
        most: bytes; 0: no bound.
        why: where it comes from.
    """

    most: int
    why: str

    @classmethod
    def of(cls, setting: int | None) -> "Bound":
        """The bound that is set; else half of what there is: while a version is tested, three of a model run."""
        if setting is not None:
            return cls(setting, "CROSSFADE_VERSION_MEMORY_BYTES")
        return cls(usable_bytes() // 2, "half of what there is; CROSSFADE_VERSION_MEMORY_BYTES sets another bound")


def own_bytes(pid: int, beyond: int = 0) -> int:
    """Bytes that only this process holds: without what it shares with those that it was forked beside (proc(5)).

    Args:
        pid: of the process.
        beyond: of a process that holds no more in all, all that it holds is told. To tell its own apart, the kernel
            walks through its pages, while those that it asks for anew wait.

    Raises:
        OSError: there is no such process.
    """
    resident = int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if resident <= beyond:
        return resident
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_bytes()
    return sum(1024 * int(kilobytes) for kilobytes in _PRIVATE.findall(rollup))
