"""Windows of counts as processes say them."""

from evaluator.window.counts import InstanceCounts, Series

ATTEMPTS = "crossfade.attempt.duration"


def series(metric: str, *counts: int, labels: tuple[str, ...] = (), **at: str) -> Series:
    return Series(metric, tuple(sorted(at.items())), counts, 0.0, labels)


def window(*found: Series, at: float = 100.0, name: str = "a") -> tuple[InstanceCounts, ...]:
    return (InstanceCounts(name, round(at * 1e6), tuple(sorted(found, key=lambda one: one.key))),)


def attempt(version: str, traffic: str, outcome: str, count: int, epoch: int = 2) -> Series:
    return series(ATTEMPTS, count, version=version, traffic=traffic, outcome=outcome, epoch=str(epoch), segment="")
