"""What happens to both arms alike during a rollout: shares, hours, incidents, users, labels that come late."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.random import Generator

from benchmarks.evaluator_error_rates.behaviour import Behaviour, Rate
from evaluator.statistics.counts import FloatArray

REQUESTS: Final = 1_000.0
"""Of both arms per look, on average."""
INSTANCES: Final = np.array([[0.5], [0.3], [0.2]])
"""Each instance's part of them."""
HOSTS: Final = np.array([[1.0], [1.6], [0.4]])
"""Each instance's errors against the usual."""
RAMP: Final = (0.01, 0.05, 0.25, 0.5)
WAITING_LOOKS: Final = 2
"""Looks before the first step, at which the test version gets nothing."""
LOOK_SECONDS: Final = 30.0
SLICE_LOOKS: Final = 10
"""A default step lasts 1 h and has 12 slices."""
_USERS: Final = 10_000

Lags = Mapping[int, float]
"""Looks until a label comes, and the share of the labels that take so long."""
AT_ONCE: Final[Lags] = {0: 0.6, 1: 0.4}


@dataclass(frozen=True, slots=True)
class Conditions:
    """One look.

    Attributes:
        share: the test arm's part of the requests; 0: the rollout waits.
        step: number of the plan's step; -1: the rollout waits.
        judged: False: the share has just changed, so that counts are recorded only.
        requests: of both arms, on average.
        stable: how the stable version answers.
        slower: buckets by which batches of both arms' processes are slower than usual, (rollouts) or one number.
        cold: the same of processes that a rollout has started: the test version's and control's.
    """

    share: Rate
    step: int
    judged: bool
    requests: float
    stable: Behaviour
    slower: Rate = 0.0
    cold: float = 0.0


World = Callable[[int], Conditions]
"""From a look's number, below 0 while the rollout waits, to what it meets."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A kind of rollout.

    Attributes:
        name: of its table row.
        make: from chance, rollouts and looks to the world of those rollouts.
        labelled: share of the answers that get labels.
        right, wrong: when labels of right and of wrong answers come.
        sticky: requests are assigned by key.
        usual_wrong: share of stable's answers that are wrong.
        known_lags: the lane has got labels for long, so that what labels take is known when the rollout begins.
    """

    name: str
    make: Callable[[Generator, int, int], World]
    labelled: float = 0.9
    right: Lags = field(default_factory=lambda: AT_ONCE)
    wrong: Lags = field(default_factory=lambda: AT_ONCE)
    sticky: bool = False
    usual_wrong: float = 0.08
    known_lags: bool = True


def constant(rng: Generator, rollouts: int, looks: int) -> World:
    """5 % and nothing else."""
    del rng, rollouts, looks
    return lambda look: _one_step(look, 0.05)


def few_wrong(rng: Generator, rollouts: int, looks: int) -> World:
    """5 % of the traffic of a model that is wrong in 2 % of the cases."""
    del rng, rollouts, looks
    good = replace(_usual(), missed=0.02, false_alarms=0.02)
    return lambda look: replace(_one_step(look, 0.05), stable=good)


def ramp(rng: Generator, rollouts: int, looks: int) -> World:
    """1, 5, 25, 50 %, a quarter of the looks each."""
    del rng, rollouts
    return lambda look: _ramped(look, looks)


def incidents(rng: Generator, rollouts: int, looks: int) -> World:
    """The ramp, and three incidents at times that differ by rollout, of 10 to 40 looks, the last on one instance alone.

    Errors are eight times as many, wrong answers twice as many, and batches 2.8 times as slow: in both arms.
    """
    starts = rng.integers(0, max(looks, 1), (3, rollouts))
    ends = starts + rng.integers(10, 41, (3, rollouts))
    third = np.array([[0.0], [1.0], [0.0]])

    def at(look: int) -> Conditions:
        now = _ramped(look, looks)
        on = ((starts <= look) & (look < ends)).astype(np.float64)
        everywhere = np.maximum(on[0], on[1])
        errors = np.maximum(everywhere, on[2] * third)
        stable = replace(
            now.stable,
            errors=now.stable.errors * (1.0 + 7.0 * errors),
            missed=now.stable.missed * (1.0 + everywhere),
            false_alarms=now.stable.false_alarms * (1.0 + everywhere),
        )
        return replace(now, stable=stable, slower=12.0 * everywhere)

    return at


def day_cycles(rng: Generator, rollouts: int, looks: int) -> World:
    """The ramp through two days: traffic, errors, positives, wrong answers and runtimes, each a wave of its own."""
    phases = rng.random((5, rollouts)) * 2.0 * math.pi

    def at(look: int) -> Conditions:
        now = _ramped(look, looks)
        wave = np.sin(4.0 * math.pi * look / looks + phases)
        stable = Behaviour(
            errors=now.stable.errors * (1.0 + 0.8 * wave[0]),
            positives=now.stable.positives * (1.0 + 0.5 * wave[1]),
            missed=now.stable.missed * (1.0 + 0.6 * wave[2]),
            false_alarms=now.stable.false_alarms * (1.0 + 0.6 * wave[3]),
        )
        busy = REQUESTS * (1.0 + 0.8 * math.sin(4.0 * math.pi * look / looks))
        return replace(now, requests=busy, stable=stable, slower=np.round(2.0 + 2.0 * wave[4]))

    return at


def cold_caches(rng: Generator, rollouts: int, looks: int) -> World:
    """5 %; processes that the rollout has started begin 1.7 times as slow as stable's own and warm up over 60 looks."""
    del rng, rollouts, looks
    return lambda look: replace(_one_step(look, 0.05), cold=float(round(6.0 * math.exp(-max(look, 0) / 20.0))))


@dataclass(frozen=True, slots=True)
class Users:
    """What users that keep their arm make of two versions that are alike.

    Attributes:
        share: of the requests, the test arm's; (rollouts).
        test, stable: rates of the arms' own users; (rollouts) each.
    """

    share: FloatArray
    test: Behaviour
    stable: Behaviour


def draw_users(rng: Generator, rollouts: int) -> Users:
    """10,000 users, the k-th of whom sends 1/k of the first one's requests, 5 % of them in the test arm.

    A user's errors are Beta(.01, 1.99), wrong answers Beta(.4, 4.6): the same on average as elsewhere.
    """
    weights = 1.0 / np.arange(1, _USERS + 1)
    weights /= weights.sum()
    drawn = []
    for _ in range(rollouts):
        test = np.where(rng.random(_USERS) < 0.05, weights, 0.0)
        errors, missed, alarms = (rng.beta(a, b, _USERS) for a, b in ((0.01, 1.99), (0.4, 4.6), (0.4, 4.6)))
        rows = [
            [float(arm @ rates) / float(arm.sum()) for rates in (errors, missed, alarms)]
            for arm in (test, weights - test)
        ]
        drawn.append([float(test.sum()), *rows[0], *rows[1]])
    share, *rates = np.array(drawn).T
    test_arm, stable_arm = (
        Behaviour(errors=errors, missed=missed, false_alarms=alarms)
        for errors, missed, alarms in (rates[:3], rates[3:])
    )
    return Users(share, test_arm, stable_arm)


def _one_step(look: int, share: float) -> Conditions:
    if look < 0:
        return Conditions(0.0, -1, judged=False, requests=REQUESTS, stable=_usual())
    return Conditions(share, 0, judged=look > 0, requests=REQUESTS, stable=_usual())


def _ramped(look: int, looks: int) -> Conditions:
    if look < 0:
        return _one_step(look, 0.0)
    length = max(looks // len(RAMP), 1)
    step = min(look // length, len(RAMP) - 1)
    return replace(_one_step(look, RAMP[step]), step=step, judged=look > step * length)


def _usual() -> Behaviour:
    return Behaviour(errors=0.005 * HOSTS)


CONSTANT: Final = Scenario("constant 5 %", constant)
RAMPED: Final = Scenario("ramp 1, 5, 25, 50 %", ramp)
INCIDENTS: Final = Scenario("incidents in both arms, ramp", incidents)
DAYS: Final = Scenario("day cycles, ramp", day_cycles)
LATE: Final = Scenario(
    "late labels, ramp", ramp, right={0: 0.3, 2: 0.4, 6: 0.3}, wrong={2: 0.2, 20: 0.3, 40: 0.3, 60: 0.2}
)
LATE_CONSTANT: Final = replace(LATE, name="late labels, 5 %", make=constant)
LATE_FIRST: Final = replace(LATE_CONSTANT, name="late labels, 5 %, a lane's first hours", known_lags=False)
LATE_RARE: Final = Scenario(
    "late labels of few wrong answers, 5 %", few_wrong, wrong={0: 0.6, 60: 0.4}, usual_wrong=0.02
)
COLD: Final = Scenario("colder caches", cold_caches)
STICKY: Final = Scenario("sticky keys", constant, sticky=True)
