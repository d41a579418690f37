"""Why windows: errors of two versions alike through a ramp with incidents, judged by sums and by windows."""

from typing import Final

import numpy as np
from numpy.random import Generator

from benchmarks.evaluator_error_rates.behaviour import alike
from benchmarks.evaluator_error_rates.effects import Found, RateEffect
from benchmarks.evaluator_error_rates.gates import bars, open_harm
from benchmarks.evaluator_error_rates.judges import Rates, flagger, kayenta_rates, msprt, z_test
from benchmarks.evaluator_error_rates.labels import STABLE, TEST
from benchmarks.evaluator_error_rates.rollouts import count
from benchmarks.evaluator_error_rates.scenarios import INCIDENTS, WAITING_LOOKS
from evaluator.statistics import rates
from evaluator.statistics.counts import FloatArray
from evaluator.statistics.rates import RateWindows

NAME: Final = "alike, ramp, incidents"


def judge(rng: Generator, effect: RateEffect, rollouts: int, looks: int) -> list[Found]:
    """False alarms alone: nothing is to be found here."""
    test = open_harm(effect.metric, rollouts, 0.0)
    world = INCIDENTS.make(rng, rollouts, looks)
    bar = bars()[effect.metric]
    false = np.full(rollouts, np.inf)
    parts: list[list[FloatArray]] = [[], [], [], []]
    for look in range(-WAITING_LOOKS, looks):
        now = world(look)
        counted = count(rng, now, alike, rollouts, None)
        n_test, x_test = (part[TEST] * now.judged for part in (counted.attempts, counted.failed))
        windows = RateWindows(n_test, x_test, counted.attempts[STABLE], counted.failed[STABLE])
        test = rates.update(test, windows)
        false[np.isinf(false) & (test.process.log_e >= bar.harm)] = look + 1.0
        if look >= 0:
            for all_looks, part in zip(
                parts, (windows.n_test, windows.x_test, windows.n_stable, windows.x_stable), strict=True
            ):
                all_looks.append(part.sum(axis=0))
    seen = Rates(*(np.array(part) for part in parts))
    never = np.full(rollouts, np.inf)
    ways = (
        (f"as the gate, alpha {bar.alpha:.4f}", false),
        ("z-test at .05, each look", z_test(seen)),
        ("Kayenta-like, every 5 min", kayenta_rates(seen)),
        ("mSPRT, alpha .01", msprt(seen, effect.test - effect.stable)),
        ("Flagger-like, 5 failed checks", flagger(seen, effect.threshold)),
    )
    return [Found(way, never, found) for way, found in ways]
