"""Gates by key through a rollout: looks that are due together, other splits, restarts, steps, and windows left out."""

import itertools
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.random import Generator

from benchmarks.evaluator_error_rates.checks.checked import Checked
from benchmarks.evaluator_error_rates.checks.cohorts import apart, counts, draw
from benchmarks.evaluator_error_rates.oracle.spending import KeyedGate, Side
from evaluator.gates.cohorts import CohortGate
from evaluator.statistics.schedule import Schedule
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Gate, GateMargin, Limit, Need
from services.common.telemetry.catalog import COHORTS

_EVERYTHING: Final = GateMargin()
_GATES: Final = (
    (GateMargin(1.1, 0.0005), GateMargin(1.5, 0.0025), None, None),
    (GateMargin(offset=0.005), GateMargin(offset=0.02), None, None),
    (GateMargin(offset=0.005), GateMargin(offset=0.02), None, GateMargin(offset=0.01)),
    (_EVERYTHING, _EVERYTHING, Limit(at_most=0.05), None),
    (_EVERYTHING, _EVERYTHING, Limit(at_least=0.9), None),
)
"""Margins of harm and of what is safe, a limit, and by how much it must be better."""
_WINDOWS: Final = 10
_PERIOD: Final = 1.4
"""Parts of a step's period in which its windows are."""
_LARGEST: Final = 4_000.0


def check(seed: int, cases: int) -> Checked:
    """Random rollouts of two steps each."""
    rng = np.random.default_rng([seed, 6])
    gaps: list[float] = []
    for _ in range(max(cases // 3, 1)):
        for case in _GATES:
            gaps += _gaps(rng, *case)
    return Checked.of("gates by key", gaps, [_spent()])


def _gaps(
    rng: Generator, harm: GateMargin, safe: GateMargin, limit: Limit | None, better: GateMargin | None
) -> list[float]:
    steps, agreeing = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    gate = Gate("g", MetricKind.ERRORS, Need.ALWAYS, harm, safe, 1.0, limit=limit, better=better)
    worse, fine = (harm.offset, harm.factor), (safe.offset, safe.factor)
    if better is not None:
        fine = (-better.offset, 1.0)
    if limit is not None:
        worse = fine = (limit.at_most if limit.at_most is not None else 1.0 - (limit.at_least or 0.0), 0.0)
    product = CohortGate.open(gate, steps, agreeing).enter(1)
    # Harm is looked for in all steps, which share the error; that it is safe each step has to show anew.
    sides = Side(worse, harm=True, part=1.0 / steps), Side(fine, harm=False, part=1.0)
    wanted = KeyedGate(COHORTS, *sides, agreeing - 1, winner=better is not None)
    gaps = []
    for step, at in itertools.product((1, 2), sorted(rng.uniform(0.0, _PERIOD, _WINDOWS).tolist())):
        happened = rng.random()
        if product.at > at:
            agreeing = int(rng.integers(1, 4))
            product = product.new_step(agreeing).restart().enter(10 * step)
            wanted.new_step(agreeing - 1)
            wanted.restart()
            wanted.other_split()
        elif happened < 0.1:
            product = product.enter(product.epoch + 1)
            wanted.other_split()
        elif happened < 0.2:
            product = product.restart()
            wanted.restart()
        (window,) = draw(rng, COHORTS, 1, worse, most=_LARGEST)
        product = product.add(counts(window), counts(window)).reach(at)
        wanted.window(window, Fraction(at))
        pairs = (
            (product.harm.log_e, wanted.harm.now),
            (product.harm.max_log_e, wanted.harm.best),
            (product.proof.log_e, wanted.safe.now),
            (product.safe.log_e, wanted.shown),
        )
        gaps.append(max(apart(*pair) for pair in pairs))
    return gaps


def _spent() -> float:
    """Of the error, what the looks of a thousand periods may spend together, some of them due at once."""
    schedule, whole = Schedule(), 0.0
    for at in (0.01, 0.2, 0.5, 0.88, 0.9, 1.3, 7.0, 1_000.0):
        part, schedule = schedule.due(at)
        whole += part
    return whole
