"""What detection is measured on: 50 requests of the test arm and 950 of stable at each of 720 looks of 5 s.

Each effect is judged three ways by the product's own test: as an e-process alone (alpha .01, no margin), with the burst
guard, and as the gate would (its part of alpha, its margin, the guard).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.random import Generator

from benchmarks.evaluator_error_rates.behaviour import Behaviour
from benchmarks.evaluator_error_rates.bounds import rate_bound
from benchmarks.evaluator_error_rates.gates import bars, line
from benchmarks.evaluator_error_rates.judges import Rates, flagger, kayenta_rates, msprt, z_test
from evaluator.statistics import rates
from evaluator.statistics.bets import Margin, Side
from evaluator.statistics.counts import FloatArray
from evaluator.statistics.process import log_threshold
from evaluator.statistics.rates import RateTest, RateWindows
from services.common.policy.metrics import MetricKind

TEST, STABLE = 50, 950
PAST: Final = 5_000
"""Requests of stable before the test."""
ALPHA: Final = 0.01


@dataclass(frozen=True, slots=True)
class RateEffect:
    """A version that is worse in one rate.

    Attributes:
        name: of its table row.
        metric: whose gate judges it.
        test, stable: the arms' rates.
        events: share of the requests that the metric counts.
        f1: of stable, for the gate's line.
    """

    name: str
    metric: MetricKind
    test: float
    stable: float
    events: float = 1.0
    f1: float = 0.0

    @property
    def margin(self) -> Margin:
        """The gate's line of harm."""
        return line(bars()[self.metric].gate.harm, self.metric, self.f1)

    @property
    def threshold(self) -> float:
        """Flagger's: the middle of both rates, which nobody knows before."""
        return 0.5 * (self.test + self.stable)


@dataclass(frozen=True, slots=True)
class Found:
    """What one way of judging makes of an effect.

    Attributes:
        way: who judges.
        looks: until it found harm, (rollouts); infinity: never.
        false: the same where both versions are alike.
        bound: requests of the test arm that no test of the same null can beat on average; None: there is none here.
    """

    way: str
    looks: FloatArray
    false: FloatArray
    bound: float | None = None
    per_look: int = field(default=TEST)

    def requests(self, looks: int) -> float:
        """Mean requests of the test arm until harm was found, all of them where it was not."""
        return float(np.minimum(self.looks, looks).mean()) * self.per_look

    @property
    def detected(self) -> float:
        """Share of the rollouts."""
        return float(np.isfinite(self.looks).mean())

    @property
    def alarms(self) -> float:
        """Share of the rollouts with versions alike that it would have rolled back."""
        return float(np.isfinite(self.false).mean())


def rate_effects() -> tuple[RateEffect, ...]:
    """Errors, accuracy, and F1 through 1 - J."""
    usual = Behaviour()
    f1 = float(usual.f1)
    unlike, worse = (1.0 - value / (2.0 - value) for value in (f1, f1 - 0.02))
    return (
        RateEffect("errors .5 -> 2 %", MetricKind.ERRORS, 0.02, 0.005),
        RateEffect("accuracy 92 -> 89 %", MetricKind.ACCURACY, 0.11, 0.08),
        RateEffect(
            "F1 -2 points", MetricKind.F1, worse, unlike, events=float(usual.positives + usual.false_positive), f1=f1
        ),
    )


def draw(rng: Generator, effect: RateEffect, test_rate: float, rollouts: int, looks: int) -> Rates:
    """Counts of all looks."""
    sizes = looks, rollouts
    n_test, n_stable = (
        rng.binomial(n, effect.events, sizes) if effect.events < 1.0 else np.full(sizes, n) for n in (TEST, STABLE)
    )
    x_test, x_stable = rng.binomial(n_test, test_rate), rng.binomial(n_stable, effect.stable)
    return Rates(*(part.astype(np.float64) for part in (n_test, x_test, n_stable, x_stable)))


def judge_rates(rng: Generator, effect: RateEffect, rollouts: int, looks: int) -> list[Found]:
    """The product's ways and the others', on the same counts."""
    harmed = draw(rng, effect, effect.test, rollouts, looks)
    alike = draw(rng, effect, effect.stable, rollouts, looks)
    past = np.full(rollouts, PAST), rng.binomial(PAST, effect.stable, rollouts)
    alpha = bars()[effect.metric].alpha
    ways: tuple[tuple[str, Margin, float, int], ...] = (
        (f"e-process, alpha {ALPHA:g}", Margin(), ALPHA, 1),
        ("with the burst guard", Margin(), ALPHA, 3),
        (f"as the gate, alpha {alpha:.4f}", effect.margin, alpha, 3),
    )
    found = []
    for way, margin, level, agreeing in ways:
        test = rates.harm_test(margin, level, *past, agreeing_looks=agreeing)
        bound = rate_bound(level, effect.test, effect.stable, margin) / effect.events
        bar = log_threshold(level)
        found.append(Found(way, first(test, harmed, bar), first(test, alike, bar), bound))
    others: list[tuple[str, Callable[[Rates], FloatArray]]] = [
        ("z-test at .05, each look", z_test),
        ("Kayenta-like, every 5 min", kayenta_rates),
        ("mSPRT, alpha .01", lambda seen: msprt(seen, effect.test - effect.stable)),
        ("Flagger-like, 5 failed checks", lambda seen: flagger(seen, effect.threshold)),
    ]
    return found + [Found(way, judge(harmed), judge(alike)) for way, judge in others]


def judge_safety(rng: Generator, effect: RateEffect, rollouts: int, looks: int) -> Found:
    """How soon a version alike passes; `false` are versions at the margin that pass."""
    margin = line(bars()[effect.metric].gate.safe, effect.metric, effect.f1)
    test = rates.non_inferiority_test(margin, np.full(rollouts, PAST), rng.binomial(PAST, effect.stable, rollouts))
    bound = rate_bound(0.05, effect.stable, effect.stable, margin, Side.NON_INFERIOR) / effect.events
    edge = margin.a + margin.b * effect.stable
    alike, worse = (draw(rng, effect, rate, rollouts, looks) for rate in (effect.stable, edge))
    bar = log_threshold(0.05)
    return Found(f"{effect.metric}: a version alike passes", first(test, alike, bar), first(test, worse, bar), bound)


def first(test: RateTest, seen: Rates, bar: float) -> FloatArray:
    """1-based look at which each rollout's ln E first reaches a bar; infinity: never."""
    found = np.full(seen.n_test.shape[1], np.inf)
    for look in range(len(seen.n_test)):
        rows = (part[look : look + 1] for part in (seen.n_test, seen.x_test, seen.n_stable, seen.x_stable))
        test = rates.update(test, RateWindows(*rows))
        found[np.isinf(found) & (test.process.log_e >= bar)] = look + 1.0
        if np.isfinite(found).all():
            break
    return found
