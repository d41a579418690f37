"""The rows of a batch where they lie: in the memory that front-ends share with the engine."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from services.worker.engine.engine import EngineOutput
from services.worker.shared_memory.exchange import Exchange
from services.worker.shared_memory.tensors import Array


class Stretch(NamedTuple):
    """Rows that lie next to one another in one exchange's memory."""

    exchange: Exchange
    start: int
    stop: int


def stretches(pieces: Sequence[Stretch]) -> list[Stretch]:
    """Pieces, in their order, in as few stretches as there are."""
    found: list[Stretch] = []
    for exchange, start, stop in pieces:
        first = start
        if found and found[-1].exchange is exchange and found[-1].stop == start:
            first = found.pop().start
        found.append(Stretch(exchange, first, stop))
    return found


def joined(parts: Sequence[Stretch]) -> list[Array]:
    """One array per input; only what lies apart is copied together."""
    first = parts[0]
    if len(parts) == 1:
        return [array[first.start : first.stop] for array in first.exchange.inputs]
    slots = range(len(first.exchange.inputs))
    return [np.concatenate([one.exchange.inputs[slot][one.start : one.stop] for one in parts]) for slot in slots]


def hand_out(parts: Sequence[Stretch], result: EngineOutput) -> None:
    """Writes what a batch gave beside its rows."""
    position = 0
    for exchange, start, stop in parts:
        end = position + stop - start
        for kept, array in zip(exchange.outputs, result.arrays, strict=True):
            kept[start:stop] = array[position:end]
        if result.classes is not None:
            exchange.classes[start:stop] = result.classes[position:end]
        exchange.finite[start:stop] = True if result.finite is None else result.finite[position:end]
        position = end


def split(parts: Sequence[Stretch], half: int, rows: int) -> Iterator[tuple[list[Stretch], int]]:
    """The first `half` rows of a batch, and the others, each with their number."""
    before: list[Stretch] = []
    after: list[Stretch] = []
    position = 0
    for exchange, start, stop in parts:
        cut = min(max(half - position, 0), stop - start)
        if cut:
            before.append(Stretch(exchange, start, start + cut))
        if start + cut < stop:
            after.append(Stretch(exchange, start + cut, stop))
        position += stop - start
    yield before, half
    yield after, rows - half
