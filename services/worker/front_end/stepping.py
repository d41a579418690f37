"""An answer in parts, step by step: what goes into the next step, what leaves, and when a row has ended.

Plain numpy: who runs the steps is not known here.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from crossfade.manifest import Manifest
from services.worker.shared_memory.tensors import Array, Inputs


class StepPlan(NamedTuple):
    """A version's loop, by the places of its tensors in the signature.

    Attributes:
        feeds: the output that feeds an input, by the input.
        parts: outputs that are sent.
        until: the output that ends a row unless it is zero; None: none does.
        max_parts: how many parts the longest answer has.
    """

    feeds: dict[int, int]
    parts: tuple[int, ...]
    until: int | None
    max_parts: int

    @staticmethod
    def of(manifest: Manifest) -> "StepPlan":
        """A version without a loop answers one part, which holds all of its outputs."""
        inputs = {spec.name: slot for slot, spec in enumerate(manifest.signature.inputs)}
        outputs = {spec.name: slot for slot, spec in enumerate(manifest.signature.outputs)}
        loop = manifest.loop
        if loop is None:
            return StepPlan({}, tuple(outputs.values()), None, 1)
        return StepPlan(
            feeds={inputs[name]: outputs[source] for name, source in loop.feeds.items()},
            parts=tuple(outputs[name] for name in loop.parts),
            until=None if loop.until is None else outputs[loop.until],
            max_parts=loop.max_parts,
        )


class Steps:
    """The rows of one answer in parts.

    A row that has ended is not run any more, so that it costs nothing and nothing can happen to it; later parts repeat
    its last values.

    Attributes:
        given: what the request gave, one array per input, [rows, ...].
        outputs: of the latest step, one array per output, [rows, ...].
        classes: the predicted class of each row, by its index; empty: the model is no classification.
        count: how many steps were taken.

    Args:
        plan: the version's.
        inputs: what the request gave.
        limit: how many parts it is to have at most.
    """

    def __init__(self, plan: StepPlan, inputs: Inputs, limit: int) -> None:
        self.outputs: list[Array] = []
        self.classes: list[int] = []
        self.count = 0
        self._plan = plan
        self.given = inputs.arrays
        self._limit = limit
        self._running = np.arange(inputs.rows)
        self._all = inputs.rows

    @property
    def rows(self) -> int:
        """Rows of the next step."""
        return len(self._running)

    def row(self, place: int) -> int:
        """Which of the request's rows is at `place` in the next step, by its index."""
        return int(self._running[place])

    @property
    def inputs(self) -> list[Array]:
        """Inputs of the next step, one array per input, [rows, ...]."""
        arrays = list(self.given)
        if self.count:
            for slot, source in self._plan.feeds.items():
                arrays[slot] = self.outputs[source]
        return arrays if self.rows == self._all else [array[self._running] for array in arrays]

    @property
    def done(self) -> bool:
        """Whether the latest part was the last one."""
        return self.count >= self._limit or not len(self._running)

    def take(self, outputs: Sequence[Array], classes: Sequence[int]) -> None:
        """Takes in what a step gave; the arrays may be written to by others afterwards."""
        if self.rows == self._all:
            self.outputs, self.classes = [array.copy() for array in outputs], list(classes)
        else:
            for kept, array in zip(self.outputs, outputs, strict=True):
                kept[self._running] = array
            for row, one in zip(self._running.tolist(), classes, strict=False):
                self.classes[row] = one
        self.count += 1
        if self._plan.until is not None:
            ended = outputs[self._plan.until].reshape(self.rows, 1)[:, 0] != 0
            self._running = self._running[~ended]
