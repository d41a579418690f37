"""How much memory there is for this process: the machine's, or less where it is confined."""

import re
from pathlib import Path
from typing import Final

_TOTAL: Final = re.compile(r"^MemTotal: +(\d+) kB", re.MULTILINE)
_ROOT: Final = Path("/")


def usable_bytes(root: Path = _ROOT) -> int:
    """Bytes of memory that this process and all beside it in its cgroups may take; 0: it cannot be told.

    Sources: proc(5) for the machine's; cgroups(7) and the kernel's cgroup-v2 (`memory.max`) and cgroup-v1
    (`memory.limit_in_bytes`) for limits, of which the least along the way up holds.

    Args:
        root: where /proc and /sys are.
    """
    found = _TOTAL.search(_text(root / "proc/meminfo"))
    bounds = [1024 * int(found[1])] if found else []
    for file in _limit_files(root):
        limit = _text(file).strip()
        if limit.isdecimal():
            bounds.append(int(limit))
    return min(bounds, default=0)


def _limit_files(root: Path) -> list[Path]:
    """Where limits may stand; in a container the path that the kernel tells may be one outside of it."""
    files = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            mount, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            mount, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        here = Path(path.lstrip("/"))
        files += [mount / part / name for part in (here, *here.parents)]
    return files


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
