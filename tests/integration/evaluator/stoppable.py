"""Evaluators as processes, of which a test stops one."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.integration.evaluator.scene import Scene
from tests.support.wait import until


@asynccontextmanager
async def evaluators(
    made: Scene, stopped: Path, number: int, *how: str
) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    """So many processes that serve, as `tests.support.stopping_evaluator` is told `how`; they end with the test."""
    said = stopped.with_suffix(".log")
    settings = {"CROSSFADE_REGISTRY": made.registry, "CROSSFADE_LISTEN": "127.0.0.1:0", "CROSSFADE_POLL_SECONDS": "0.1"}
    with said.open("wb") as log:
        processes = [
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.support.stopping_evaluator", str(stopped), *how),
                env={**os.environ, **settings},
                stdout=log,
                stderr=log,
            )
            for _ in range(number)
        ]
    try:
        await until(lambda: said.read_text().count('"serving"') == number, seconds=30)
        yield processes
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
