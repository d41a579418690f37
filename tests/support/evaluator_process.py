"""An Evaluator as a process of its own, which may be killed."""

import asyncio
import os
import sys


class EvaluatorProcess:
    """`python -m evaluator`, started anew as often as it was killed.

    Args:
        registry: host:port of the Registry.
    """

    def __init__(self, registry: str) -> None:
        self._environment = {
            **os.environ,
            "CROSSFADE_REGISTRY": registry,
            "CROSSFADE_LISTEN": "127.0.0.1:0",
            "CROSSFADE_POLL_SECONDS": "0.05",
            "CROSSFADE_MONITOR_SECONDS": "0",
            "CROSSFADE_LOG_LEVEL": "error",
        }
        self._process: asyncio.subprocess.Process | None = None

    @property
    def ended(self) -> bool:
        """Whether none runs: none was started, it was killed, or it has ended by itself."""
        return self._process is None or self._process.returncode is not None

    async def start(self) -> None:
        """Starts one, and waits for nothing."""
        assert self.ended
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "evaluator"), env=self._environment
        )

    async def kill(self) -> None:
        """SIGKILL, which no process can answer; waits until it is gone."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
