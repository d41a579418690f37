"""A version's program as native code, where that is asked for, can be had, answers alike and takes less time."""

import contextlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import torch

from services.common.text import first_line
from services.worker.artifacts.locked import scratch_folder
from services.worker.domain import LoadError
from services.worker.engine.engine import Engine
from services.worker.engine.flat import Forward
from services.worker.engine.golden import GoldenCheck
from services.worker.engine.loader import load_compiled
from services.worker.engine.timing import Timer
from services.worker.settings import WorkerSettings
from services.worker.shared_memory.tensors import Array

_HELPS: Final = 0.9
"""It has to take so much of the time at the most, in the geometric mean over the smallest and the largest batch."""
_ROUNDS: Final = 3
_NICE: Final = 10
_MODULE: Final = "services.worker.engine.compiler"


class Compiler:
    """Has an engine run native code where that helps.

    Args:
        engine: runs the program.
        check: its golden rows.
        timer: times them.
        settings: whether that is wanted, and how long a batch may take.
        compiled: gives the program as native code, for batches of so many rows at the most; or raises LoadError.
    """

    def __init__(
        self,
        engine: Engine,
        check: GoldenCheck,
        timer: Timer,
        settings: WorkerSettings,
        compiled: Callable[[int], Forward],
    ) -> None:
        self._engine = engine
        self._check = check
        self._timer = timer
        self._settings = settings
        self._compiled = compiled

    def settle(self, sizes: Sequence[int], *, may: bool) -> tuple[int, str]:
        """Has the settled engine run native code if that helps.

        Args:
            sizes: of the batches that the version may be given, ascending, from 2 on.
            may: the program keeps nothing from batch to batch.

        Returns:
            The rows of the largest batch that takes no longer than it may; and what came of it, as the end of a
            sentence.
        """
        rows = self._largest(sizes)
        if not self._settings.compile_programs:
            return rows, ""
        if not may:
            return rows, "; not compiled, since it writes to what it holds or is given"
        try:
            forward = self._compiled(max(sizes, default=1))
        except LoadError as failure:
            return rows, f"; not compiled, since {first_line(failure)[:300]}"
        plain = self._engine.take(forward)
        try:
            most, told, helps = self._tried(sizes, rows, plain, forward)
        except (LoadError, torch.OutOfMemoryError) as failure:
            most, told, helps = rows, first_line(failure)[:300], False
        self._engine.take(forward if helps else plain)
        return (most, f"; compiled, {told}") if helps else (rows, f"; not compiled, since {told}")

    def _tried(self, sizes: Sequence[int], rows: int, plain: Forward, forward: Forward) -> tuple[int, str, bool]:
        """The largest batch of the compiled program, which the engine has; what is to be told of it; does it help?"""
        precision = self._engine.precision
        most = self._largest(sizes)
        error, worst = self._check.worst_batch([1, *(size for size in sizes if size <= most)], precision)
        if not error <= 1:
            return most, self._check.complaint(precision, error, worst), False
        gains = {size: self._gain(size, plain, forward) for size in sorted({1, min(rows, most)})}
        told = ", ".join(f"{gain:.2f} times as fast in batches of {size}" for size, gain in gains.items())
        helps = math.prod(gains.values()) ** (1 / len(gains)) >= 1 / _HELPS
        return most, told if helps else f"it was {told}", helps

    def _largest(self, sizes: Sequence[int]) -> int:
        return self._timer.largest(sizes, self._engine.precision, self._settings.batch_seconds)

    def _gain(self, size: int, plain: Forward, forward: Forward) -> float:
        """How often the compiled program runs in the time of one run of the other, in batches of that size."""
        # In turns, and the least of each: a busy moment of the machine is no reason for either.
        least = [math.inf, math.inf]
        for _ in range(_ROUNDS):
            for place, one in enumerate((plain, forward)):
                self._engine.take(one)
                least[place] = min(least[place], self._timer.served_seconds(size, self._engine.precision))
        return least[0] / least[1]


def compile_program(
    folder: Path, engine: Engine, settings: WorkerSettings, example: Sequence[Array], rows: int
) -> Forward:
    """A program as native code, made by a process of its own: a compiler's memory and threads are no version's.

    Args:
        folder: the artifact.
        engine: settled; says the device and the precision.
        settings: how long a load may take, and where there is room for it.
        example: inputs that it answers.
        rows: of the largest batch.

    Raises:
        LoadError: it cannot be compiled here.
    """
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        raise LoadError("there is no C++ compiler: install g++ beside the Worker, or say in CXX what to call")
    seconds = settings.load_seconds / 2
    try:
        with scratch_folder(settings.artifact_cache.absolute()) as own:
            to = own / "program.pt2"
            job = {
                "parent": os.getpid(),
                "folder": str(folder.absolute()),
                "device": str(engine.device),
                "precision": engine.precision,
                "threads": torch.get_num_threads(),
                "rows": rows,
                "to": str(to),
            }
            _run(job, own / "cache", seconds)
            return load_compiled(to, engine.device, engine.tensors(example))
    except (LoadError, torch.AcceleratorError):
        raise
    except Exception as failure:
        # Whatever it is, no room on the disk, or none for native code (a folder that is mounted without): it is no
        # reason for the version not to run.
        raise LoadError(f"{type(failure).__name__}: {first_line(failure)}") from failure


def _run(job: dict[str, object], cache: Path, seconds: float) -> None:
    """Has a process do a job, with all that it starts in a group of its own, and leaves none of it behind.

    Raises:
        LoadError: it could not, or not in time.
    """
    # Its caches go with it.
    variables = {"TORCHINDUCTOR_CACHE_DIR": str(cache), "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    with subprocess.Popen(
        ["nice", "-n", str(_NICE), sys.executable, "-m", _MODULE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | variables,
        text=True,
        errors="replace",
        process_group=0,
    ) as process:
        try:
            said, complaints = process.communicate(json.dumps(job), timeout=seconds)
        except BaseException as failure:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(failure, subprocess.TimeoutExpired):
                raise
            raise LoadError(f"that took longer than {seconds:g} s, half of CROSSFADE_LOAD_SECONDS") from None
    if process.returncode:
        lines = complaints.strip().splitlines() or [f"its compiler ended with exit code {process.returncode}"]
        raise LoadError(said.strip() or lines[-1])
