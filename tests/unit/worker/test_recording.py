"""Graphs of batches: taken where they prove themselves, and left where they do not."""

from typing import Any

import pytest
import torch

from crossfade.manifest import Precision
from services.worker.domain import LoadError
from services.worker.engine.cuda import UNDER_WAY
from services.worker.engine.recording import Recorder


class Device:
    """Records what it is told to, or fails."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.precision = Precision.FP32
        self.recorded: list[int] = []
        self.tries = 0
        self.failure = failure

    def record(self, sizes: list[int], _precision: Precision) -> None:
        self.tries += 1
        if self.failure is not None:
            raise self.failure
        self.recorded = list(sizes)

    def forget(self) -> None:
        self.recorded = []


class Proof:
    """Golden rows whose batches of a size have an error."""

    def __init__(self, errors: dict[int, float] | None = None, failure: Exception | None = None) -> None:
        self.asked: list[int] = []
        self._errors = errors or {}
        self._failure = failure

    def worst_batch(self, sizes: list[int], _precision: Precision) -> tuple[float, int]:
        self.asked += sizes
        if self._failure is not None:
            raise self._failure
        return max((self._errors.get(size, 0.5), size) for size in sizes)

    def complaint(self, precision: Precision, error: float, rows: int) -> str:
        return f"{error:g} in {precision} of {rows}"


def recorder(device: Any, proof: Any, *, wanted: bool = True) -> Recorder:
    return Recorder(device, proof, wanted=wanted)


def test_graphs_that_agree_stay_each_one_proved() -> None:
    device, proof = Device(), Proof()
    assert recorder(device, proof).settle([1, 2, 4]) == "; with CUDA graphs of up to 4 rows"
    assert device.recorded == [1, 2, 4]
    # Each batch that may be under way has graphs of its own.
    assert sorted(proof.asked) == sorted([1, 2, 4] * UNDER_WAY)


@pytest.mark.parametrize(
    ("proof", "why"),
    [
        (Proof({4: 1.5}), "1.5 in fp32 of 4"),
        (Proof(failure=LoadError("the program raised")), "the program raised"),
        (Proof(failure=torch.OutOfMemoryError("no room")), "no room"),
    ],
)
def test_graphs_that_do_not_agree_are_let_go(proof: Proof, why: str) -> None:
    device = Device()
    assert recorder(device, proof).settle([1, 2, 4]) == f"; without CUDA graphs, since {why}"
    assert device.recorded == []


def test_a_program_that_cannot_be_recorded_is_not_tried_again() -> None:
    device = Device(RuntimeError("not permitted\nwhen the stream is capturing"))
    made = recorder(device, Proof())
    assert not made.record([1], Precision.FP32)
    assert made.settle([1, 2]) == "; without CUDA graphs, since not permitted"
    assert device.tries == 1


def test_the_program_s_own_error_is_told_and_not_the_recording_s() -> None:
    failure = RuntimeError("capture failed")
    failure.__context__ = ValueError("a copy to the host")
    assert recorder(Device(failure), Proof()).settle([1]) == "; without CUDA graphs, since a copy to the host"


def test_where_the_memory_was_too_small_it_is_tried_again_with_less_to_hold() -> None:
    device = Device(torch.OutOfMemoryError("no room"))
    made = recorder(device, Proof())
    assert not made.record([1], Precision.FP32)
    device.failure = None
    assert made.settle([1, 2]) == "; with CUDA graphs of up to 2 rows"


def test_what_is_not_wanted_is_not_spoken_of() -> None:
    device = Device()
    assert recorder(device, Proof(), wanted=False).settle([1]) == ""
    assert not recorder(device, Proof(), wanted=False).record([1], Precision.FP32)
    assert device.tries == 0
