"""Detection of slower versions: 50 batches of the test process and 50 of control's at each look."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.random import Generator

from benchmarks.evaluator_error_rates import runtime_judges
from benchmarks.evaluator_error_rates.bounds import histogram_bound
from benchmarks.evaluator_error_rates.effects import ALPHA, TEST, Found
from benchmarks.evaluator_error_rates.gates import bars, safe_bar
from benchmarks.evaluator_error_rates.runtimes import shape
from evaluator.gates.distributions import RATIO
from evaluator.statistics import runtime
from evaluator.statistics.counts import FloatArray
from evaluator.statistics.histograms import RuntimeWindows, shifted
from evaluator.statistics.process import log_threshold
from evaluator.statistics.runtime import RuntimeTest
from services.common.policy.metrics import MetricKind

BUCKETS: Final = 64
_PAST: Final = 2_000


@dataclass(frozen=True, slots=True)
class Slower:
    """A slower version: all of its batches by a factor, or a part of them by ten."""

    name: str
    factor: float = 1.0
    slow_part: float = 0.0

    @property
    def shape(self) -> FloatArray:
        """Probabilities of its buckets."""
        usual = shape(BUCKETS, math.log(self.factor))
        return (1.0 - self.slow_part) * usual + self.slow_part * shape(BUCKETS, math.log(10.0))


EFFECTS: Final = (
    Slower("runtime +10 %", 1.1),
    Slower("runtime +30 %", 1.3),
    Slower("3 % of the batches x 10", slow_part=0.03),
)


def judge(rng: Generator, effect: Slower, rollouts: int, looks: int) -> list[Found]:
    """The product's ways and the others'."""
    usual, slow = shape(BUCKETS), effect.shape
    bar = bars()[MetricKind.RUNTIME]
    ways = (
        (f"e-process, alpha {ALPHA:g}", 0, ALPHA, 1),
        ("with the burst guard", 0, ALPHA, 3),
        (f"as the gate, alpha {bar.alpha:.4f}", bar.gate.harm.buckets, bar.alpha, 3),
    )
    found = []
    for way, margin, alpha, agreeing in ways:
        fresh = runtime.runtime_harm_test(BUCKETS, RATIO, alpha, margin, agreeing_looks=agreeing, shape=(rollouts,))
        null = shifted(usual, margin)
        # Where the likelihood ratio falls somewhere, the nearest versions "not slower" are others than the mean.
        bound = histogram_bound(alpha, slow, null) if _rises(slow, null) else None
        harmed = _first(rng, fresh, slow, log_threshold(alpha), looks)
        alike = _first(rng, fresh, usual, log_threshold(alpha), looks)
        found.append(Found(way, harmed, alike, bound))
    judged, misjudged = (runtime_judges.others(rng, (arm, usual), slow, rollouts, looks, TEST) for arm in (slow, usual))
    return found + [Found(way, judged[way], misjudged[way]) for way in judged]


def judge_safety(rng: Generator, rollouts: int, looks: int) -> Found:
    """How soon a version alike passes; `false` are versions at the margin that pass."""
    usual, buckets = shape(BUCKETS), bars()[MetricKind.RUNTIME].gate.safe.buckets
    fresh = runtime.runtime_non_inferiority_test(BUCKETS, RATIO, buckets, shape=(rollouts,))
    alike, worse = (_first(rng, fresh, arm, safe_bar(), looks) for arm in (usual, shifted(usual, buckets)))
    return Found("runtime: a version alike passes", alike, worse, histogram_bound(0.05, usual, shifted(usual, buckets)))


def _first(rng: Generator, fresh: RuntimeTest, arm: FloatArray, bar: float, looks: int) -> FloatArray:
    rollouts = fresh.process.log_e.shape[0]
    usual = shape(BUCKETS)
    past = rng.multinomial(_PAST, usual, (1, rollouts)).astype(np.float64)
    test = runtime.update(fresh, RuntimeWindows((1,), np.zeros(past.shape), past))
    found = np.full(rollouts, np.inf)
    for look in range(looks):
        windows = (rng.multinomial(TEST, probabilities, (1, rollouts)) for probabilities in (arm, usual))
        test = runtime.update(test, RuntimeWindows((1,), *(counts.astype(np.float64) for counts in windows)))
        found[np.isinf(found) & (test.process.log_e >= bar)] = look + 1.0
        if np.isfinite(found).all():
            break
    return found


def _rises(one: FloatArray, other: FloatArray) -> bool:
    """Whether the likelihood ratio rises with the bucket, leaving out buckets that hold nothing but rounding."""
    seen = np.minimum(one, other) > 1e-12
    return bool((np.diff(one[seen] / other[seen]) >= -1e-9).all())
