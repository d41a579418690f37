"""A/B tests: how soon a better version wins, and how often one that is none does, by the product's test of superiority.

One rollout is judged at a time, for a boosted window's wealth is filled up by a search of its own.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.random import Generator

from benchmarks.evaluator_error_rates import scenarios
from benchmarks.evaluator_error_rates.behaviour import alike
from benchmarks.evaluator_error_rates.gates import policy, safe_bar
from benchmarks.evaluator_error_rates.jobs import SEED, spread
from benchmarks.evaluator_error_rates.labels import STABLE, TEST
from benchmarks.evaluator_error_rates.rollouts import count
from benchmarks.evaluator_error_rates.scenarios import Scenario
from evaluator.statistics import rates
from evaluator.statistics.counts import FloatArray
from evaluator.statistics.rates import RateTest, RateWindows
from services.common.policy.timing import AGREEING_LOOKS

PLAIN, BOOSTED, GATE = "plain", "boosted", "as the gate"
WAYS: Final = (PLAIN, BOOSTED, GATE)
ALIKE: Final = "versions alike"
_BLOCK: Final = 25
_PAST: Final = 2_000
"""Of stable's, from before the test."""
_FAILING: Final = 0.5
"""Part of stable's attempts that fail in an incident of its own."""
_BEGINS: Final = 10
"""The look before such an incident."""


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of A/B test, of which half of the requests are the test version's unless a scenario says otherwise.

    Attributes:
        name: of its table row.
        stable: the share of stable's requests that are bad.
        test: the same of the test version's.
        requests: of either arm at a look.
        looks: of each test.
        bad: looks, one after another, at which half of stable's requests are bad.
        scenario: what happens to both arms instead of all that.
    """

    name: str
    stable: float
    test: float
    requests: int = 50
    looks: int = 720
    bad: int = 0
    scenario: Scenario | None = None

    @property
    def wrong(self) -> bool:
        """Whether nobody should win."""
        return self.test >= self.stable


BETTER: Final = (
    Case("10 -> 8 %", 0.10, 0.08),
    Case("8 -> 5 %", 0.08, 0.05),
    Case("64 -> 60 %", 0.64, 0.60),
)
_HOUR: Final = 120
"""Looks of 30 s."""
AFTER_INCIDENT: Final = tuple(
    replace(
        Case("", 0.005, 0.003, requests=150, looks=4 * _HOUR), name=f".5 -> .3 %, {bad} bad looks of stable", bad=bad
    )
    for bad in (0, 1, 2)
)
WRONG: Final = (
    Case(f"{ALIKE}, 8 %", 0.08, 0.08, looks=200),
    *(
        Case(f"{ALIKE}, .5 %, {bad} bad looks of stable", 0.005, 0.005, requests=150, looks=_HOUR, bad=bad)
        for bad in (0, 1, 2, 3)
    ),
    Case(f"{ALIKE}, {scenarios.INCIDENTS.name}", 0.005, 0.005, looks=200, scenario=scenarios.INCIDENTS),
    Case(f"{ALIKE}, {scenarios.DAYS.name}", 0.005, 0.005, looks=200, scenario=scenarios.DAYS),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one case and way: the share of the tests that were won, and the test arm's requests at their ends on average.

    One that was not won counts with all of its requests.
    """

    case: Case
    way: str
    won: float
    requests: float


def cases() -> list[tuple[Case, str]]:
    """Every row, each as the gate judges; plain and boosted, without agreement, what they are to be compared with."""
    made = [(case, way) for case in (*BETTER, WRONG[0]) for way in WAYS]
    return made + [(case, GATE) for case in (*AFTER_INCIDENT, *WRONG[1:])]


def measure(rollouts: int, looks: int, processes: int, say: Callable[[str], None]) -> list[Outcome]:
    """Every case, `rollouts` times, of `looks` looks at most."""
    found = []
    for case, way in cases():
        asked = replace(case, looks=min(case.looks, looks))
        blocks = [(asked, way, first, min(_BLOCK, rollouts - first)) for first in range(0, rollouts, _BLOCK)]
        table = np.concatenate(list(spread(_run, blocks, processes)))
        found.append(Outcome(case, way, float(table[:, 0].mean()), float(table[:, 1].mean())))
        say(f"winners: {case.name}, {way}")
    return found


def open_test(way: str) -> RateTest:
    """A fresh test of superiority by anything."""
    alpha = policy().alpha_promote
    if way == GATE:
        return rates.superiority_test(0.0, alpha, agreeing_looks=AGREEING_LOOKS)
    test = rates.superiority_test(0.0, alpha)
    return test if way == BOOSTED else replace(test, boost=0.0)


def _run(block: tuple[Case, str, int, int]) -> FloatArray:
    """(rollouts, 2): whether the test was won, and the test arm's requests until then."""
    case, way, first, rollouts = block
    # The same tests are judged each way.
    rng = np.random.default_rng([SEED, zlib.crc32(case.name.encode()), first])
    return np.array([_rollout(case, way, one) for one in rng.spawn(rollouts)])


def _rollout(case: Case, way: str, rng: Generator) -> tuple[float, float]:
    test, requests = open_test(way), 0.0
    for windows in _looks(case, rng):
        test = rates.update(test, windows)
        requests += float(windows.totals[0])
        if test.log_e >= safe_bar():
            return 1.0, requests
    return 0.0, requests


def _looks(case: Case, rng: Generator) -> Iterator[RateWindows]:
    """What is known before the test, and then each look's windows."""
    if case.scenario is not None:
        yield from _of_scenario(case.scenario, case.looks, rng)
        return
    n = case.requests
    yield RateWindows.of([(0, 0, _PAST, int(rng.binomial(_PAST, case.stable)))])
    for look in range(case.looks):
        failing = _BEGINS <= look < _BEGINS + case.bad
        of_test, of_stable = case.test, _FAILING if failing else case.stable
        yield RateWindows.of([(n, int(rng.binomial(n, of_test)), n, int(rng.binomial(n, of_stable)))])


def _of_scenario(scenario: Scenario, looks: int, rng: Generator) -> Iterator[RateWindows]:
    """Attempts of three instances and the failed ones, of versions alike, through the shares of a ramp."""
    world = scenario.make(rng, 1, looks)
    for look in range(-scenarios.WAITING_LOOKS, looks):
        now = world(look)
        counted = count(rng, now, alike, 1, None)
        judged = 1.0 if now.judged else 0.0
        n, x = counted.attempts[..., 0], counted.failed[..., 0]
        yield RateWindows(judged * n[TEST], judged * x[TEST], n[STABLE], x[STABLE])
