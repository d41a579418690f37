"""What processes say that they have counted, and what a window has of it."""

from evaluator.window.counts import Counts, Series
from evaluator.window.readings import Reading

ATTEMPTS = "crossfade.attempt.duration"
FEEDBACK = "crossfade.feedback.count"
INFERENCE = "crossfade.inference.duration"
INPUTS = "crossfade.lane.input.count"


def series(metric: str, *counts: int, labels: tuple[str, ...] = (), total: float = 0.0, **at: str) -> Series:
    return Series(metric, tuple(sorted(at.items())), counts, total, labels)


def reading(name: str, *found: Series, at: float = 1.0) -> Reading:
    return Reading(name, round(at * 1e6), tuple(sorted(found, key=lambda one: one.key)))


def counted(window: Counts) -> dict[str, list[tuple[int, ...]]]:
    return {instance.instance_id: [one.counts for one in instance.series] for instance in window}
