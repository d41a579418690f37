"""Looks as the product records them, made of counts: for its own fold."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from benchmarks.evaluator_error_rates.gates import CLASSES
from benchmarks.evaluator_error_rates.labels import FN, FP, TN, TP, lag_seconds, slice_number
from benchmarks.evaluator_error_rates.scenarios import LOOK_SECONDS, SLICE_LOOKS
from evaluator.evidence.lateness import NO_LAGS
from evaluator.evidence.state import Look
from evaluator.statistics.counts import FloatArray
from evaluator.window.arms import BUCKETS
from evaluator.window.counts import InstanceCounts, Series
from services.common.telemetry import catalog

TEST, STABLE = "v2", "v1"
_START: Final = 3_000_000.0
"""Of all rollouts, seconds since 1970-01-01 UTC: a multiple of a slice's length."""


def at(**attributes: str) -> tuple[tuple[str, str], ...]:
    """Sorted attributes of a series."""
    return tuple(sorted(attributes.items()))


def arm(test: int) -> dict[str, str]:
    """A version and its traffic: of the stable arm for 0, of the test arm for 1."""
    return {"version": (STABLE, TEST)[test], "traffic": "live"}


def epoch(step: int) -> int:
    """The lane's epoch while a step lasts; the wait's for -1."""
    return step + 2


def attempts(of: dict[str, str], step: int, n: int, failed: int) -> list[Series]:
    """Attempts of an instance."""
    return [
        Series(catalog.ATTEMPT_DURATION.name, at(**of, epoch=str(epoch(step)), outcome=outcome), (count,))
        for outcome, count in (("INTERNAL", failed), ("ok", n - failed))
        if count
    ]


def predictions(of: dict[str, str], step: int, look: int, by_class: Sequence[int]) -> Series:
    """Predicted rows by class, in the order of CLASSES."""
    attributes = at(**of, slice=slice_name(step, slice_number(look)))
    return Series(catalog.PREDICTION_COUNT.name, attributes, tuple(by_class), labels=CLASSES)


def batches(version: str, traffic: str, counts: Sequence[int], batch: int = 1) -> Series:
    """Batches by runtime."""
    padded = (*counts, *(0,) * (BUCKETS - len(counts)))
    attributes = at(version=version, traffic=traffic, batch=str(batch), precision="fp32")
    return Series(catalog.INFERENCE_DURATION.name, attributes, padded)


def feedback(of: dict[str, str], step: int, number: int, cells: FloatArray) -> list[Series]:
    """Labels of a slice, (4) by cell."""
    named = {"yes": (cells[FP], cells[TP]), "no": (cells[TN], cells[FN])}
    return [
        Series(
            catalog.FEEDBACK_COUNT.name,
            at(**of, slice=slice_name(step, number), predicted=predicted, correct=""),
            tuple(int(count) for count in actual),
            labels=CLASSES,
        )
        for predicted, actual in named.items()
        if sum(actual)
    ]


def lags(of: dict[str, str], counts: FloatArray, *, correct: bool = True) -> list[Series]:
    """Labels of right or of wrong answers by the buckets of their lag."""
    if not counts.any():
        return []
    attributes = at(**of, correct="true" if correct else "false")
    return [Series(catalog.FEEDBACK_LAG.name, attributes, tuple(int(count) for count in counts))]


def lag_counts(rows: int, delay: int) -> FloatArray:
    """Labels that all come so many looks late."""
    counts = np.zeros(len(NO_LAGS))
    counts[np.searchsorted(catalog.FEEDBACK_LAG.bounds, lag_seconds(delay))] = rows
    return counts


def slice_name(step: int, number: int) -> str:
    """As tokens carry it."""
    return f"{epoch(step)}.{number + int(_START / LOOK_SECONDS / SLICE_LOOKS)}"


def look(number: int, step: int, *, judged: bool, sequence: int, series: Sequence[Sequence[Series]]) -> Look:
    """A look at instances with these series."""
    read_us = round((_START + number * LOOK_SECONDS) * 1e6)
    window = tuple(
        InstanceCounts(f"worker-{place}", read_us, tuple(sorted(of, key=lambda one: one.key)))
        for place, of in enumerate(series)
    )
    return Look(
        sequence=sequence,
        epoch=epoch(step),
        slice_seconds=SLICE_LOOKS * LOOK_SECONDS,
        step=max(step, 0),
        judged=judged,
        window=window,
    )
