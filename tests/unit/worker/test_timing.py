"""How long batches take before a version serves, by a clock in the test's hand."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from crossfade.manifest import Precision
from services.worker.engine.recording import Recorder
from services.worker.engine.timing import Timer
from tests.fakes.clock import ManualClock

_SIZES = (2, 4, 8, 16)


class Rows:
    """Golden rows of which each run takes as long as it is told."""

    def __init__(self, seconds: Callable[[int, Precision, int], float]) -> None:
        self.clock = ManualClock()
        self.runs: list[tuple[int, Precision]] = []
        self._seconds = seconds

    def inputs(self, start: int, stop: int) -> int:
        return stop - start

    def run(self, rows: int, precision: Precision) -> None:
        taken = self._seconds(rows, precision, len(self.runs))
        self.runs.append((rows, precision))
        self.clock.advance(taken)


class Placed:
    """What a timer asks of an engine: where it runs."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = torch.device(device)


def timer(rows: Any, device: str = "cpu") -> Timer:
    engine: Any = Placed(device)
    return Timer(engine, rows, Recorder(engine, rows, wanted=False), rows.clock)


def test_a_size_takes_the_median_of_seven_runs_after_the_first() -> None:
    rows = Rows(lambda _rows, _precision, run: (9.0, 0.03, 0.01, 0.02, 0.02, 0.02, 0.04, 0.05)[run])
    assert timer(rows).seconds(4, Precision.FP32) == pytest.approx(0.02)
    assert rows.runs == [(4, Precision.FP32)] * 8


def test_a_size_that_takes_long_is_timed_once() -> None:
    rows = Rows(lambda _rows, _precision, _run: 0.6)
    assert timer(rows).seconds(4, Precision.FP32) == pytest.approx(0.6)
    assert len(rows.runs) == 2


@pytest.mark.parametrize(("limit", "largest"), [(0.5, 16), (0.01, 8), (0.0081, 8), (0.004, 4), (0.0001, 1)])
def test_the_largest_batch_is_the_last_one_within_the_time(limit: float, largest: int) -> None:
    rows = Rows(lambda rows, _precision, _run: rows / 1000)
    assert timer(rows).largest(_SIZES, Precision.FP32, limit) == largest


def test_a_size_beyond_one_that_took_too_long_is_not_tried() -> None:
    rows = Rows(lambda rows, _precision, _run: 0.001 if rows == 16 else rows / 1000)
    assert timer(rows).largest(_SIZES, Precision.FP32, 0.005) == 4
    assert max(size for size, _ in rows.runs) == 8


def test_a_size_that_the_memory_is_too_small_for_is_too_large() -> None:
    def seconds(rows: int, _precision: Precision, _run: int) -> float:
        if rows > 4:
            raise torch.OutOfMemoryError
        return 0.001

    assert timer(Rows(seconds)).largest(_SIZES, Precision.FP32, 1.0) == 4


@pytest.mark.parametrize(
    ("slow_pairs", "share", "helps"), [(0, 0.8, True), (1, 0.8, True), (2, 0.8, False), (0, 0.91, False)]
)
def test_on_a_processor_mixed_precision_helps_in_nearly_all_pairs(slow_pairs: int, share: float, helps: bool) -> None:
    def seconds(_rows: int, precision: Precision, run: int) -> float:
        return 0.01 * share if precision is Precision.BF16 and run >= 2 * slow_pairs else 0.01

    rows = Rows(seconds)
    assert timer(rows).helps(Precision.BF16, 1, 0.01, 0.01 * share) is helps
    assert rows.runs == [(1, Precision.FP32), (1, Precision.BF16)] * 10


def test_on_a_gpu_full_precision_is_timed_on_both_sides_of_mixed() -> None:
    # Something else ran on the device while full precision was timed first.
    rows = Rows(lambda _rows, _precision, _run: 0.01)
    assert not timer(rows, "cuda").helps(Precision.BF16, 64, 0.05, 0.0095)
    assert timer(rows, "cuda").helps(Precision.BF16, 64, 0.05, 0.0085)
