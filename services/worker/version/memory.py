"""What memory a process has to itself."""

import re
from pathlib import Path
from typing import Final

_PRIVATE: Final = re.compile(rb"^Private_(?:Clean|Dirty): +(\d+) kB", re.MULTILINE)


def own_bytes(pid: int) -> int:
    """Bytes that only this process holds: without what it shares with those that it was forked beside (proc(5)).

    Raises:
        OSError: there is no such process.
    """
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_bytes()
    return sum(1024 * int(kilobytes) for kilobytes in _PRIVATE.findall(rollup))
