"""The design effect: how many times the variance of independent rows that of rows which come by request is.

A request r has n_r rows, k_r of them of a kind, whose share of all n rows is s. Requests vary by sum((k_r - s n_r)^2),
and independent rows would by n s (1 - s). Log e-values of a test that takes rows to be independent are divided by the
ratio. Source: Kish, "Survey Sampling", 1965.
"""

import math
from typing import Final

import numpy as np

from evaluator.statistics.counts import FloatArray, frozen

ENOUGH_REQUESTS: Final = 30
"""Of fewer it is not known how alike their rows are; they are taken to be as alike as they can be."""
REQUESTS_KEPT: Final = 300
"""What is known of requests is worth so many at most, before more are added: a variance estimated by as many is off by
8 %. How alike rows are changes with who sends them: a batch job at night has requests of many rows where by day each
had one, and what a month of single rows said would hide it."""
_ROUNDING: Final = 1e-9


def variations(
    kind: FloatArray, own: FloatArray, every: FloatArray, rows: float | FloatArray, squares: float | FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return how much requests vary, and how much independent rows would, per kind.

    The arguments broadcast; rows is greater than 0.

    kind: k, the rows of the kind in all requests. own: over requests of several rows, the sums of k_r (k_r - 1).
    every: likewise of k_r (n_r - 1). rows: n. squares: over all requests, the sum of n_r n_r.
    """
    share = kind / rows
    varied: FloatArray = own + kind - 2.0 * share * (every + kind) + share * share * squares
    alone: FloatArray = rows * share * (1.0 - share)
    return varied, alone


def requests_like(rows: float, squares: float) -> float:
    """Return how many requests of one size had as many rows and squares; infinity: of none is known."""
    return rows * rows / squares if squares else math.inf


def effect_of(varied: float, alone: float) -> float:
    """Return the design effect, at least 1: exactly 1 where each request had one row, in spite of rounding."""
    effect = varied / alone if alone > 0.0 else 1.0
    return effect if effect > 1.0 + _ROUNDING else 1.0


def weight_of_past(rows: float, squares: float) -> float:
    """Return by what sums are multiplied so that they are worth REQUESTS_KEPT requests at most; it is at most 1.

    Sums of which all are multiplied by w are worth w times as many requests of one size, and say the same effect.
    """
    worth = requests_like(rows, squares)
    return REQUESTS_KEPT / worth if REQUESTS_KEPT < worth < math.inf else 1.0


def weights_of_past(up_to: FloatArray, own: FloatArray) -> FloatArray:
    """Return `weight_of_past` per feature, (features); up_to, own: as in `effects_of_bins`."""
    rows = up_to[:, -1]
    squares = own[:, -1] + rows
    worth = np.divide(rows * rows, squares, out=np.zeros(len(rows)), where=squares > 0.0)
    return frozen(REQUESTS_KEPT / np.maximum(worth, REQUESTS_KEPT))


def effects_of_bins(up_to: FloatArray, own: FloatArray, every: FloatArray) -> FloatArray:
    """Return the design effect per feature, (features), at least 1: of all cuts between its bins together.

    up_to: (features, bins) rows in each bin or in one before it. own, every: as in `variations`, likewise. The last
    bins have all rows of a feature.
    """
    rows = up_to[:, -1:]
    squares = own[:, -1:] + rows
    varied, alone = variations(up_to, own, every, np.maximum(rows, 1.0), squares)
    varied, alone = varied.sum(axis=-1), alone.sum(axis=-1)
    together = np.divide(varied, alone, out=np.ones(len(up_to)), where=alone > 0.0)
    few = rows[:, 0] ** 2 < ENOUGH_REQUESTS * squares[:, 0]
    most = squares[:, 0] / np.maximum(rows[:, 0], 1.0)
    return frozen(np.maximum(np.where(few, most, together), 1.0))


def effects_of_cuts(up_to: FloatArray, own: FloatArray, every: FloatArray) -> FloatArray:
    """Return the design effect per cut, (features, bins - 1): its own, and no less than its feature's.

    Arguments as in `effects_of_bins`. A rare value may come in bunches where the common ones don't.
    """
    rows = up_to[:, -1:]
    squares = own[:, -1:] + rows
    varied, alone = (part[:, :-1] for part in variations(up_to, own, every, np.maximum(rows, 1.0), squares))
    apart = np.divide(varied, alone, out=np.ones(alone.shape), where=alone > 0.0)
    most = np.maximum(squares / np.maximum(rows, 1.0), 1.0)
    together = effects_of_bins(up_to, own, every)[:, np.newaxis]
    # No rows vary by more than those that are the same in each request.
    return frozen(np.maximum(np.minimum(apart, most), together))
