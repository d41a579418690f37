"""Several ways measured in turns, so that a busy moment of the machine hits them all, and compared round by round."""

import statistics
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import fields

from benchmarks.load import Load
from benchmarks.served import Way

Rounds = Mapping[str, list[Load]]
"""The loads of each way, in the order of the rounds."""


async def take_turns(ways: Mapping[str, Way], rounds: int, measure: Callable[[Way], Awaitable[Load]]) -> Rounds:
    """Measures every way once a round."""
    found: dict[str, list[Load]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            found[name].append(await measure(way))
    return found


def typical(loads: list[Load]) -> Load:
    """The median of each figure; failures added up."""
    medians = {field.name: statistics.median(getattr(one, field.name) for one in loads) for field in fields(Load)}
    return Load(**{**medians, "failed": sum(one.failed for one in loads)})


def paired(rounds: Rounds, name: str, base: str, compare: Callable[[Load, Load], float]) -> float:
    """The median over the rounds of one way compared with another in the same round."""
    return statistics.median(compare(one, other) for one, other in zip(rounds[name], rounds[base], strict=True))
