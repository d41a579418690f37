"""Memory of each idle service, as `crossfade up` starts them: resident set, children included.

`python -m benchmarks.idle_memory`; the last line is a JSON object, in MB (10^6 bytes).
"""

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Final

import psutil
from rich.console import Console
from rich.table import Table

from services.local.stack import Ports, Stack, StackOptions

_SETTLE_SECONDS: Final = 5.0
_GOALS: Final = {"router": 90, "registry": 130, "evaluator": 160}


def main() -> None:
    """Measures and prints."""
    measured = asyncio.run(_measure())
    table = Table(title=f"idle for {_SETTLE_SECONDS:.0f} s")
    for heading in ("service", "MB", "goal"):
        table.add_column(heading, justify="left" if heading == "service" else "right")
    for name, megabytes in measured.items():
        table.add_row(name, f"{megabytes:.0f}", str(_GOALS.get(name, "–")))
    Console().print(table)
    print(json.dumps({f"{name}_mb": round(megabytes) for name, megabytes in measured.items()}))


async def _measure() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        async with Stack(StackOptions(Path(folder) / "data", Ports.free(), restart=False)) as stack:
            await asyncio.sleep(_SETTLE_SECONDS)
            return {name: _megabytes(process.pid) for name, process in stack.processes.items()}


def _megabytes(pid: int) -> float:
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    return sum(float(one.memory_info().rss) for one in family) / 1e6


if __name__ == "__main__":
    main()
