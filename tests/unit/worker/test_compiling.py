"""When native code is run: where it answers alike and takes less time. What was compiled is told by a function here."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from crossfade.artifact import package, read_golden
from crossfade.manifest import MANIFEST_FILE, Precision, loads
from services.worker.domain import LoadError
from services.worker.engine.compiling import Compiler
from services.worker.engine.engine import Engine
from services.worker.engine.flat import Forward
from services.worker.engine.golden import GoldenCheck
from services.worker.engine.loader import load_program
from services.worker.engine.recording import Recorder
from services.worker.engine.timing import Timer
from services.worker.settings import WorkerSettings
from tests.fakes.clock import TickingClock

SIZES = [2, 4, 8, 16]
GIVEN = np.ones((3, 4), np.float32)


class Paced(Timer):
    """Takes the program itself and what was compiled to have run for so many seconds, in turns."""

    def __init__(self, engine: Engine, check: GoldenCheck, *seconds: float) -> None:
        # By this clock a batch of any size takes 1 ms.
        super().__init__(engine, check, Recorder(engine, check, wanted=False), TickingClock(0.001))
        self._paces = itertools.cycle(seconds)

    def served_seconds(self, rows: int, precision: Precision) -> float:
        """The next one's."""
        assert rows >= 1, precision
        return next(self._paces)


Setting = Callable[..., tuple[Engine, tuple[int, str]]]


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    """Settles a linear layer, what was compiled of which gives what `forward` does; gives what came of it."""
    package(nn.Linear(4, 2), example=np.eye(4, dtype=np.float32), task="other", to=tmp_path / "linear")
    manifest = loads((tmp_path / "linear" / MANIFEST_FILE).read_bytes())

    def made(
        forward: Callable[[Forward], Forward], *seconds: float, may: bool = True, **settings: Any
    ) -> tuple[Engine, tuple[int, str]]:
        module = load_program(tmp_path / "linear", manifest)
        engine = Engine(module, manifest, torch.device("cpu"))
        engine.settle(Precision.FP32)
        check = GoldenCheck(engine, read_golden(tmp_path / "linear", manifest), manifest)
        wanted = WorkerSettings(**{"compile_programs": True, "batch_seconds": 60.0} | settings)
        compiler = Compiler(engine, check, Paced(engine, check, *seconds), wanted, lambda _: forward(module))
        return engine, compiler.settle(SIZES, may=may)

    return made


def alike(module: Forward) -> Forward:
    """As the program does."""
    return lambda *inputs: [output.clone() for output in module(*inputs)]


def raising(_: Forward) -> Forward:
    raise LoadError("it has no compiler\nand more")


def otherwise(module: Forward) -> Forward:
    return lambda *inputs: [output + 1 for output in module(*inputs)]


def failing(_: Forward) -> Forward:
    def fail(*_: torch.Tensor) -> Any:
        raise ValueError("no such operator")

    return fail


def test_what_takes_less_time_is_run(setting: Setting) -> None:
    _, found = setting(alike, 1.0, 0.5)
    assert found == (16, "; compiled, 2.00 times as fast in batches of 1, 2.00 times as fast in batches of 16")


@pytest.mark.parametrize("compile_programs", [False, True])
def test_no_batch_takes_longer_than_it_may(setting: Setting, compile_programs: bool) -> None:
    _, (rows, told) = setting(alike, 1.0, 0.5, batch_seconds=0.0005, compile_programs=compile_programs)
    assert rows == 1
    assert told == ("; compiled, 2.00 times as fast in batches of 1" if compile_programs else "")


@pytest.mark.parametrize(
    ("forward", "seconds", "why"),
    [
        (alike, (1.0, 0.95), "it was 1.05 times as fast in batches of 1, 1.05 times as fast in batches of 16"),
        (otherwise, (1.0, 0.5), "its answers to the golden inputs differ in fp32, in a batch of"),
        (failing, (1.0, 0.5), "the program raised ValueError on 2 golden rows in fp32: no such operator"),
        (raising, (1.0, 0.5), "it has no compiler"),
    ],
)
def test_otherwise_the_program_runs_as_it_is(setting: Setting, forward: Any, seconds: Any, why: str) -> None:
    engine, (rows, told) = setting(forward, *seconds)
    assert told.startswith(f"; not compiled, since {why}")
    assert rows == 16
    untouched, _ = setting(alike, 1.0, 1.0, compile_programs=False)
    np.testing.assert_array_equal(engine.run([GIVEN]).arrays[0], untouched.run([GIVEN]).arrays[0])


def test_one_slower_for_a_row_may_be_faster_for_many(setting: Setting) -> None:
    paces = [*(1.0, 1.1) * 3, *(1.0, 0.5) * 3]
    _, found = setting(alike, *paces)
    assert found == (16, "; compiled, 0.91 times as fast in batches of 1, 2.00 times as fast in batches of 16")


def test_nothing_is_compiled_that_is_not_to_be_or_keeps_something(setting: Setting) -> None:
    assert setting(raising, 1.0, compile_programs=False)[1] == (16, "")
    told = "; not compiled, since it writes to what it holds or is given"
    assert setting(raising, 1.0, may=False)[1] == (16, told)
