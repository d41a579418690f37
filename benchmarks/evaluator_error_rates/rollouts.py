"""Many rollouts at once, look by look: the product's tests of rates on counts drawn from a scenario."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.random import Generator

from benchmarks.evaluator_error_rates.behaviour import Behaviour, Change, IntArray, Rate, alike
from benchmarks.evaluator_error_rates.gates import open_harm, open_safe
from benchmarks.evaluator_error_rates.labels import Ledger, waits, windows
from benchmarks.evaluator_error_rates.scenarios import (
    INSTANCES,
    WAITING_LOOKS,
    Conditions,
    Scenario,
    Users,
    World,
    draw_users,
)
from evaluator.statistics import rates
from evaluator.statistics.bets import Side
from evaluator.statistics.counts import FloatArray
from evaluator.statistics.rates import RateTest, RateWindows
from services.common.policy.metrics import LABEL_METRICS, MetricKind

F1 = float(Behaviour().f1)
"""Stable's F1 in the months before, by which the lines of its gate are drawn."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What one look counts: (arms, instances, rollouts), and answers by cell, (arms, 4, rollouts)."""

    attempts: FloatArray
    failed: FloatArray
    positive: FloatArray
    cells: FloatArray

    @property
    def answered(self) -> FloatArray:
        """Attempts that did not fail."""
        return self.attempts - self.failed


@dataclass(slots=True)
class Rollouts:
    """Rollouts that are looked at together.

    Attributes:
        scenario: what happens to both arms.
        side: the test of harm or that of non-inferiority, the latter never begun anew.
        metrics: gates to be judged.
        rng: where chance comes from.
        rollouts: how many.
        looks: of each, without those of the wait.
        change: from stable's behaviour to the test version's.
        tests: the gates' evidence.
        greatest: the greatest ln E that each gate had at any look, (rollouts).
        ledger: labels; None: no gate asks for them.
    """

    scenario: Scenario
    side: Side
    metrics: Sequence[MetricKind]
    rng: Generator
    rollouts: int
    looks: int
    change: Change = alike
    tests: dict[MetricKind, RateTest] = field(init=False)
    greatest: dict[MetricKind, FloatArray] = field(init=False)
    ledger: Ledger | None = field(init=False)
    _world: World = field(init=False)
    _users: Users | None = field(init=False)

    def __post_init__(self) -> None:
        opened = open_harm if self.side is Side.HARM else open_safe
        self.tests = {metric: opened(metric, self.rollouts, F1) for metric in self.metrics}
        self.greatest = {metric: np.zeros(self.rollouts) for metric in self.metrics}
        self.ledger = None
        if LABEL_METRICS.intersection(self.metrics):
            self.ledger = Ledger(self.scenario, self.rng, self.rollouts)
        self._world = self.scenario.make(self.rng, self.rollouts, self.looks)
        self._users = draw_users(self.rng, self.rollouts) if self.scenario.sticky else None

    def run(self) -> dict[MetricKind, FloatArray]:
        """All looks; returns `greatest`."""
        for number in range(-WAITING_LOOKS, self.looks):
            self.look(number)
        return self.greatest

    def look(self, number: int) -> tuple[Conditions, Counted]:
        """One look."""
        now = self._world(number)
        counted = count(self.rng, now, self.change, self.rollouts, self._users)
        for metric in self.metrics:
            if metric not in LABEL_METRICS:
                self.tests[metric] = rates.update(self.tests[metric], _window(metric, counted, judged=now.judged))
        if self.ledger is not None:
            self.ledger.predict(number, now.step, counted.cells)
            if now.judged:
                self._judge_labels(self.ledger, number, now.step)
        for metric, test in self.tests.items():
            log_e = test.process.log_e
            if log_e.ndim > 1:
                log_e = log_e.min(axis=-1)
            np.maximum(self.greatest[metric], log_e, out=self.greatest[metric])
        return now, counted

    def _judge_labels(self, ledger: Ledger, number: int, step: int) -> None:
        past, young = ledger.take_harm()
        mature = ledger.take_aged(number) if self.side is Side.HARM else ledger.take_safe(number, step)
        for metric in LABEL_METRICS.intersection(self.metrics):
            test = self.tests[metric]
            if past:
                before = windows(metric, past)
                nothing = np.zeros(before.n_test.shape)
                test = rates.update(test, replace(before, n_test=nothing, x_test=nothing))
            rows = young if self.side is Side.HARM and not waits(metric) else mature
            if rows:
                test = rates.update(test, windows(metric, rows))
            self.tests[metric] = test


def count(rng: Generator, now: Conditions, change: Change, rollouts: int, users: Users | None) -> Counted:
    """Draws one look."""
    stable, test = now.stable, change(now.stable)
    share: Rate = now.share
    if users is not None:
        stable, test = users.stable, users.test
        share = users.share if now.step >= 0 else 0.0
    both = rng.poisson(now.requests * INSTANCES, (len(INSTANCES), rollouts))
    of_test = rng.binomial(both, share)
    parts = [_answers(rng, n, arm) for n, arm in ((of_test, test), (both - of_test, stable))]
    return Counted(*(np.array(list(part), dtype=np.float64) for part in zip(*parts, strict=True)))


def _answers(rng: Generator, n: IntArray, arm: Behaviour) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    failed = rng.binomial(n, arm.errors)
    actual = rng.binomial(n - failed, arm.positives)
    missed = rng.binomial(actual, arm.missed)
    rest = n - failed - actual
    false = rng.binomial(rest, arm.false_alarms)
    cells = np.array([part.sum(axis=0) for part in (actual - missed, missed, false, rest - false)])
    return n, failed, actual - missed + false, cells


def _window(metric: MetricKind, counted: Counted, *, judged: bool) -> RateWindows:
    """A window per instance; one that is not judged has nothing of the test arm, so that the past alone grows."""
    if metric is MetricKind.ERRORS:
        n, x = counted.attempts, counted.failed
    else:
        n = np.repeat(counted.answered[..., np.newaxis], 2, axis=-1)
        x = np.stack((counted.positive, counted.answered - counted.positive), axis=-1)
    test = 1.0 if judged else 0.0
    return RateWindows(test * n[0], test * x[0], n[1], x[1])
