"""Labels of many rollouts slice by slice, as `evaluator.evidence.ledger` keeps those of one: what each look takes.

A test folds one such rollout by the product itself and finds the same evidence.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.random import Generator

from benchmarks.evaluator_error_rates.behaviour import IntArray
from benchmarks.evaluator_error_rates.gates import bars, policy
from benchmarks.evaluator_error_rates.judges import BoolArray
from benchmarks.evaluator_error_rates.scenarios import LOOK_SECONDS, SLICE_LOOKS, Lags, Scenario
from evaluator.evidence.lateness import ENOUGH_LAGS, USUAL
from evaluator.gates.maturity import shows_young
from evaluator.statistics.counts import FloatArray
from evaluator.statistics.rates import RateWindows
from services.common.policy.metrics import MetricKind
from services.common.policy.records import SLICES_PER_PERIOD
from services.common.telemetry.bounds import LAG_BOUNDS

TEST, STABLE = 0, 1
TP, FN, FP, TN = range(4)
_RIGHT: Final = (TP, TN)
_WRONG: Final = (FN, FP)
_SLICE_SECONDS: Final = SLICE_LOOKS * LOOK_SECONDS
_HISTORY: Final = 20_000
_HALF_PERIOD: Final = SLICES_PER_PERIOD * SLICE_LOOKS // 2
"""Labels of a lane that has got some for long, all stable's."""

Key = tuple[int, int]
"""A step and the slice's number."""


def bad(metric: MetricKind, cells: FloatArray) -> tuple[FloatArray, FloatArray]:
    """n and x of a metric, as `evaluator.statistics.confusion` counts them.

    Args:
        metric: one that labels tell.
        cells: (4, ...) of TP, FN, FP, TN.
    """
    tp, fn, fp, tn = cells
    match metric:
        case MetricKind.ACCURACY:
            return tp + fn + fp + tn, fn + fp
        case MetricKind.PRECISION:
            return tp + fp, fp
        case MetricKind.RECALL:
            return tp + fn, fn
        case MetricKind.FALSE_POSITIVE_RATE:
            return fp + tn, fp
        case MetricKind.F1:
            return tp + fn + fp, fn + fp
        case _:
            raise ValueError(f"{metric} is not judged by labels")


def windows(metric: MetricKind, rows: list[FloatArray]) -> RateWindows:
    """The windows of rows (arms, 4, rollouts)."""
    test, stable = ([bad(metric, row[arm]) for row in rows] for arm in (TEST, STABLE))
    parts = ([pair[place] for pair in arm] for arm in (test, stable) for place in (0, 1))
    return RateWindows(*(np.array(part) for part in parts))


@dataclass(slots=True)
class Slice:
    """One slice; arrays of (arms, rollouts) and (arms, 4, rollouts)."""

    predicted: FloatArray
    labelled: FloatArray
    harm_taken: FloatArray
    aged_taken: FloatArray
    safe_taken: FloatArray

    @classmethod
    def empty(cls, rollouts: int) -> "Slice":
        """One without rows."""
        return cls(np.zeros((2, rollouts)), *(np.zeros((2, 4, rollouts)) for _ in range(4)))

    def new_for_harm(self) -> FloatArray:
        """Labels that the tests of harm have not taken, which are then taken."""
        row = self.labelled - self.harm_taken
        self.harm_taken = self.labelled.copy()
        return row

    def new_when_aged(self, where: BoolArray) -> FloatArray:
        """The same of some rollouts, for metrics whose harm waits for a slice's age."""
        row = np.where(where, self.labelled - self.aged_taken, 0.0)
        self.aged_taken = self.aged_taken + row
        return row

    def new_for_safety(self, where: BoolArray) -> FloatArray:
        """The same for non-inferiority, of some rollouts."""
        row = np.where(where, self.labelled - self.safe_taken, 0.0)
        self.safe_taken = self.safe_taken + row
        return row


@dataclass(slots=True)
class Ledger:
    """All slices, and the labels that are still to come."""

    scenario: Scenario
    rng: Generator
    rollouts: int
    slices: dict[Key, Slice] = field(default_factory=dict)
    due: dict[int, list[tuple[Key, int, FloatArray]]] = field(default_factory=dict)
    lags: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        self.lags = np.zeros((2, 2, len(LAG_BOUNDS) + 1, self.rollouts))
        if self.scenario.known_lags:
            wrong = self.scenario.usual_wrong
            shares = ((1.0 - wrong, self.scenario.right), (wrong, self.scenario.wrong))
            for place, (share, lags) in enumerate(shares):
                for delay, part in lags.items():
                    self.lags[STABLE, place, _bucket(delay)] += round(_HISTORY * share * part)

    def predict(self, look: int, step: int, cells: FloatArray) -> None:
        """Takes in a look's answers (arms, 4, rollouts), whose labels come later, and the labels that have come."""
        key = step, slice_number(look)
        self._at(key).predicted += cells.sum(axis=1)
        labelled = self.rng.binomial(cells.astype(np.int64), self.scenario.labelled)
        for delay in sorted({*self.scenario.right, *self.scenario.wrong}):
            self.due.setdefault(look + delay, []).append((key, delay, np.zeros(labelled.shape)))
        for cell in range(4):
            lags = self.scenario.right if cell in _RIGHT else self.scenario.wrong
            for delay, late in _spread(self.rng, labelled[:, cell], lags):
                self.due[look + delay][-1][-1][:, cell] = late
        for of, delay, part in self.due.pop(look, []):
            self._at(of).labelled += part
            for place, cells_of in enumerate((_RIGHT, _WRONG)):
                self.lags[:, place, _bucket(delay)] += part[:, cells_of].sum(axis=1)

    def take_harm(self) -> tuple[list[FloatArray], list[FloatArray]]:
        """New labels of slices of the wait, and new labels of all others, a row (arms, 4, rollouts) for each slice."""
        past: list[FloatArray] = []
        young: list[FloatArray] = []
        for key in sorted(self.slices):
            row = self.slices[key].new_for_harm()
            if row.any():
                (young if key[0] >= 0 else past).append(row)
        return past, young

    def take_aged(self, look: int) -> list[FloatArray]:
        """New labels of slices of any step that are old enough, for the harm of metrics that mix classes."""
        aged = self._aged(look, [key for key in self.slices if key[0] >= 0])
        if not aged:
            return []
        alike = self._alike(aged)
        rows = []
        for key, old in aged.items():
            row = self.slices[key].new_when_aged(old & alike)
            if row.any():
                rows.append(row)
        return rows

    def take_safe(self, look: int, step: int) -> list[FloatArray]:
        """New labels of slices that are mature, a row for each slice; where one is not, its row is empty."""
        maturity = policy().labels
        aged = self._aged(look, [key for key in self.slices if key[0] == step])
        if not aged:
            return []
        alike, settled = self._alike(aged), self.scenario.known_lags or look >= _HALF_PERIOD
        rows = []
        for key, old in aged.items():
            of = self.slices[key]
            covered = (of.labelled.sum(axis=1) >= maturity.min_coverage * of.predicted).all(axis=0)
            row = of.new_for_safety(old & alike & covered & settled)
            if row.any():
                rows.append(row)
        return rows

    def _aged(self, look: int, keys: list[Key]) -> dict[Key, BoolArray]:
        """Where each of those slices is old enough; those that are in no rollout are left out."""
        maturity, now = policy().labels, look * LOOK_SECONDS
        age = np.maximum(maturity.min_age, np.max([usual_lag(part) for arm in self.lags for part in arm], axis=0))
        return {
            key: now - (key[1] + 1) * _SLICE_SECONDS >= age
            for key in sorted(keys)
            if now - (key[1] + 1) * _SLICE_SECONDS >= maturity.min_age
        }

    def _alike(self, aged: dict[Key, BoolArray]) -> BoolArray:
        labels = sum(self.slices[key].labelled.sum(axis=1) * old for key, old in aged.items())
        predictions = sum(self.slices[key].predicted * old for key, old in aged.items())
        coverage = labels / np.maximum(predictions, 1.0)
        found: BoolArray = np.abs(coverage[TEST] - coverage[STABLE]) <= policy().labels.max_coverage_gap
        # Nothing predicted has no share of labels.
        return found & (np.asarray(predictions) > 0).all(axis=0)

    def _at(self, key: Key) -> Slice:
        return self.slices.setdefault(key, Slice.empty(self.rollouts))


def waits(metric: MetricKind) -> bool:
    """Whether harm in a metric is judged by slices that are old enough only."""
    return not shows_young(bars()[metric].gate, policy().labels)


def slice_number(look: int) -> int:
    """Of the slice in which a look's requests were routed."""
    return look // SLICE_LOOKS


def lag_seconds(delay: int) -> float:
    """How late a label is that comes so many looks after its prediction."""
    return (delay + 0.5) * LOOK_SECONDS


def usual_lag(lags: FloatArray) -> FloatArray:
    """`evaluator.evidence.lateness.usual_lag` of (buckets, rollouts)."""
    cumulative = lags.cumsum(axis=0)
    bucket = np.minimum((cumulative >= USUAL * cumulative[-1]).argmax(axis=0), len(LAG_BOUNDS) - 1)
    found: FloatArray = np.where(cumulative[-1] < ENOUGH_LAGS, 0.0, np.array(LAG_BOUNDS)[bucket])
    return found


def _bucket(delay: int) -> int:
    return int(np.searchsorted(LAG_BOUNDS, lag_seconds(delay)))


def _spread(rng: Generator, counts: IntArray, lags: Lags) -> list[tuple[int, IntArray]]:
    """Labels by how many looks late they are."""
    left, rest = counts, 1.0
    parts: list[tuple[int, IntArray]] = []
    for delay, share in lags.items():
        part: IntArray = rng.binomial(left, min(share / rest, 1.0)) if share < rest - 1e-12 else left
        parts.append((delay, part))
        left, rest = left - part, rest - share
    return parts
