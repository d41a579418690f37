"""P3: drift of one arm's inputs (or predictions) away from a reference profile, and its end.

A feature's bins are cut between each bin and the next; F_j is the share of observations below cut j. Against
drift, a cut's null on each side is |F_live - F_ref| <= D, D the tolerance plus the reference's own error
sqrt(ln(2/alpha)/(2 n_ref)) (Dvoretzky, Kiefer, Wolfowitz; Massart). Its bets are likelihood ratios of a
binomial rate beyond the bound against the bound itself, which is where the expectation under the null is
greatest. Their average over sides, cuts, increments and features is an e-process; 1/alpha is an alarm.

From the alarm on, the null is "still drifted": some cut of some feature is D or more away. To reject that,
every cut and side must reject on its own, so its e-process is the least of theirs; 1/alpha ends the drift and
starts the watch anew.

In both phases part of the wealth is held back for bets that start later (see `process`): a watch over hours
would otherwise take as long to see a drift as it had been calm, and a drift of an hour as long to end.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from evaluator.statistics.counts import FloatArray, checked_counts, frozen
from evaluator.statistics.process import log_sum_exp, log_threshold

DEFAULT_TOLERANCE: Final = 0.10
DEFAULT_ALPHA: Final = 0.01
_INCREMENTS: Final = (0.03, 0.08, 0.2)
# Of the bound, for bets that a cut is back within it; the last one is the reference itself.
_RETREATS: Final = (0.25, 0.5, 1.0)
_RESERVE: Final = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class DriftReference:
    """A reference profile with the bets made against it, for features of at most `bins` bins.

    counts:  (features, bins) of the reference, rows of fewer bins filled up with zeros.
    bins:    per feature, the bins it has.
    bounds:  (features) D, the tolerance and the reference's own error.
    tested:  (features, cuts, 2) per cut and side (more mass below it, more mass above it): false where the
             bound leaves nothing to test, or the feature has no such cut.
    watch, retreat: (2, features, cuts, 2, bets) what one observation on the side and one not on it add to log
    e.
    surplus: (features, bins) true for a bin that the feature does not have.
    sides: (features) how many of `tested`.
    """

    counts: FloatArray
    bins: tuple[int, ...]
    alpha: float
    bounds: FloatArray
    tested: npt.NDArray[np.bool_]
    watch: FloatArray
    retreat: FloatArray
    surplus: npt.NDArray[np.bool_]
    sides: npt.NDArray[np.intp]

    @classmethod
    def of(
        cls,
        rows: Sequence[Sequence[float]],
        observations: int | Sequence[int],
        tolerance: float | Sequence[float] = DEFAULT_TOLERANCE,
        alpha: float = DEFAULT_ALPHA,
    ) -> Self:
        """Return the reference of `rows`, one per feature, of counts or proportions per bin.

        observations, tolerance: the reference's size, and what is tolerated, of all features or of each. Raises
        ValueError where a row has fewer than two bins or sums to zero, a size is below 1, or tolerance or alpha lies
        outside (0, 1).
        """
        if not rows or any(len(row) < 2 for row in rows):
            raise ValueError("a reference needs at least one feature, and two bins for each")
        table = _filled(rows, max(len(row) for row in rows))
        if not np.isfinite(table).all() or (table < 0).any() or (table.sum(axis=-1) <= 0).any():
            raise ValueError("each feature of a reference needs finite shares that are not negative nor all zero")
        sizes = np.broadcast_to(np.asarray(observations, dtype=np.float64), (len(rows),))
        if not (sizes >= 1).all():
            raise ValueError(f"a reference needs at least 1 observation per feature, got {sizes.min()}")
        allowed = np.broadcast_to(np.asarray(tolerance, dtype=np.float64), (len(rows),))
        if not ((allowed > 0.0) & (allowed < 1.0)).all():
            raise ValueError(f"tolerance must lie between 0 and 1, got {tolerance}")
        log_threshold(alpha)
        bounds = allowed + np.sqrt(math.log(2.0 / alpha) / (2.0 * sizes))
        below = np.cumsum(table / table.sum(axis=-1, keepdims=True), axis=-1)[:, :-1]
        expected = np.stack((below, 1.0 - below), axis=-1)
        bound = expected + bounds[:, np.newaxis, np.newaxis]
        bins = tuple(len(row) for row in rows)
        surplus = np.arange(table.shape[1]) >= np.array(bins)[:, np.newaxis]
        tested = ~surplus[:, 1:, np.newaxis] & (bound < 1.0)
        limit = np.where(tested, bound, 0.5)[..., np.newaxis]
        beyond = limit + np.minimum(np.array(_INCREMENTS), 0.5 * (1.0 - limit))
        within = limit - np.minimum(bounds[:, np.newaxis, np.newaxis, np.newaxis] * np.array(_RETREATS), 0.5 * limit)
        return cls(
            counts=frozen(table),
            bins=bins,
            alpha=alpha,
            bounds=frozen(bounds),
            tested=tested,
            watch=frozen(np.log(np.stack((beyond / limit, (1.0 - beyond) / (1.0 - limit))))),
            retreat=frozen(np.log(np.stack((within / limit, (1.0 - within) / (1.0 - limit))))),
            surplus=surplus,
            sides=tested.sum(axis=(1, 2)),
        )


@dataclass(frozen=True, slots=True, eq=False)
class DriftTest:
    """The state of the watch over one arm.

    drifted: an alarm was raised and its drift has not ended. alarms: how many were raised. looks: of this
    phase.
    log_e: ln E of this phase, against ln(1/alpha). log_wealth: (features, cuts, 2, bets), each from 1 - the
    reserve.
    """

    reference: DriftReference
    drifted: bool
    alarms: int
    looks: int
    log_e: float
    log_wealth: FloatArray

    @property
    def feature_log_e(self) -> FloatArray:
        """ln E per feature, (features): which of them drifted, or, in a drift, which of them have not come
        back.

        Minus infinity marks a feature for which the bound leaves nothing to test.
        """
        return _feature_log_e(self.reference, self.drifted, self.looks, self.log_wealth)


def drift_test(reference: DriftReference) -> DriftTest:
    """Return a fresh watch."""
    return _phase(reference, drifted=False, alarms=0)


def update(
    test: DriftTest,
    rows: Sequence[Sequence[int]] | FloatArray,
    cap: float = math.inf,
    effects: FloatArray | None = None,
) -> DriftTest:
    """Return the watch after one look.

    rows: per feature in the reference's order, the observations of this look per bin (all instances
    together). A feature without observations is no evidence.
    cap: the most by which this look may raise ln E towards an alarm, above its value before or above 0 where that
    was negative.
    effects: (features) how many times the variance of independent rows each feature's is, at least 1, by which its
    evidence is divided; None: once.
    Raises ValueError for counts that are negative, not whole or not finite, and for other features or bins than the
    reference's.
    """
    reference = test.reference
    counts = _counts(reference, rows)
    if not counts.any():
        return test
    n = counts.sum(axis=-1)[:, np.newaxis, np.newaxis]
    below = counts.cumsum(axis=-1)[:, :-1, np.newaxis]
    on_side = np.concatenate((below, n - below), axis=-1)[..., np.newaxis]
    gain, loss = reference.retreat if test.drifted else reference.watch
    looks = test.looks + 1
    won = on_side * gain + (n[..., np.newaxis] - on_side) * loss
    if effects is not None:
        won /= effects[:, np.newaxis, np.newaxis, np.newaxis]
    wealth = test.log_wealth + won
    starting = math.log(_RESERVE / (looks * (looks + 1)) / wealth.shape[-1])
    wealth = np.logaddexp(wealth, starting)
    log_e = _log_e(reference, test.drifted, looks, wealth)
    excess = log_e - max(test.log_e, 0.0) - cap
    if excess > 0.0 and not test.drifted:
        wealth -= excess
        log_e -= excess
    if log_e >= log_threshold(reference.alpha):
        return _phase(reference, drifted=not test.drifted, alarms=test.alarms + (not test.drifted))
    return replace(test, looks=looks, log_e=log_e, log_wealth=frozen(wealth))


def _phase(reference: DriftReference, *, drifted: bool, alarms: int) -> DriftTest:
    bets = reference.watch.shape[-1]
    wealth = np.full((*reference.tested.shape, bets), math.log((1.0 - _RESERVE) / bets))
    return DriftTest(reference, drifted, alarms, 0, 0.0, frozen(wealth))


def _log_e(reference: DriftReference, drifted: bool, looks: int, wealth: FloatArray) -> float:
    per_feature = _feature_log_e(reference, drifted, looks, wealth)
    tested = per_feature[np.isfinite(per_feature)]
    if not tested.size:
        return 0.0
    return float(tested.min() if drifted else log_sum_exp(tested) - math.log(tested.size))


def _feature_log_e(reference: DriftReference, drifted: bool, looks: int, wealth: FloatArray) -> FloatArray:
    log_e = np.logaddexp(log_sum_exp(wealth), math.log(_RESERVE / (looks + 1)))
    tested, sides = reference.tested, reference.sides
    some = sides > 0
    features: FloatArray = np.full(len(wealth), -math.inf)
    if drifted:
        features[some] = np.where(tested, log_e, math.inf).min(axis=(1, 2))[some]
    else:
        rows = np.where(tested, log_e, -math.inf)[some]
        features[some] = log_sum_exp(rows.reshape(len(rows), tested[0].size)) - np.log(sides[some])
    return features


def _counts(reference: DriftReference, rows: Sequence[Sequence[int]] | FloatArray) -> FloatArray:
    if len(rows) != len(reference.bins):
        raise ValueError(f"expected counts of {len(reference.bins)} features, got {len(rows)}")
    for feature, (row, bins) in enumerate(zip(rows, reference.bins, strict=True)):
        if len(row) != bins and not (isinstance(row, np.ndarray) and len(row) == reference.counts.shape[1]):
            raise ValueError(f"feature {feature} has {bins} bins, got {len(row)} counts")
    counts = checked_counts("counts", _filled(rows, reference.counts.shape[1]))
    if counts[reference.surplus].any():
        raise ValueError("counts in bins that the reference's feature does not have")
    return counts


def _filled(rows: Sequence[Sequence[float]] | FloatArray, bins: int) -> FloatArray:
    if isinstance(rows, np.ndarray):
        return rows
    if all(len(row) == bins for row in rows):
        return np.array(rows, dtype=np.float64)
    table = np.zeros((len(rows), bins))
    for feature, row in enumerate(rows):
        table[feature, : len(row)] = row
    return table
