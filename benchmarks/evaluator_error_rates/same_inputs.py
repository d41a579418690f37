"""How often arms that get the same inputs are taken for arms that don't, by the product's comparison of 20 features."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.random import Generator

from benchmarks.evaluator_error_rates.jobs import SEED, spread
from benchmarks.evaluator_error_rates.look_cost import BINS, FEATURES, terms
from evaluator.evidence.same_inputs import open_same_inputs
from evaluator.statistics.counts import FloatArray
from evaluator.window.input_rows import BinRows

TEST_ROWS, STABLE_ROWS = 48, 952
_BLOCK: Final = 10
_TOGETHER: Final = 8
"""Rows of a request, where requests have several."""
_ALIKE: Final = 0.5
"""Part of such a request's rows that have the value of its first one."""

SINGLE: Final = "rows by themselves"
TOGETHER: Final = "requests of eight rows, half of them alike"
MOVING: Final = "other inputs at each look"
MOVED: Final = "the test arm's have one feature moved by up to 15 points"
SCENARIOS: Final = (SINGLE, TOGETHER, MOVING, MOVED)


@dataclass(frozen=True, slots=True)
class Job:
    """Some rollouts of a scenario."""

    scenario: str
    number: int
    rollouts: int
    looks: int


def measure(rollouts: int, looks: int, processes: int, say: Callable[[str], None]) -> dict[str, FloatArray]:
    """By scenario, the greatest ln E of each rollout."""
    found: dict[str, FloatArray] = {}
    for scenario in SCENARIOS:
        jobs = [
            Job(scenario, number, min(_BLOCK, rollouts - begin), looks)
            for number, begin in enumerate(range(0, rollouts, _BLOCK))
        ]
        found[scenario] = np.concatenate(list(spread(_run, jobs, processes)))
        say(f"same inputs / {scenario}")
    return found


def _run(job: Job) -> FloatArray:
    rng = np.random.default_rng([SEED, SCENARIOS.index(job.scenario), job.number])
    return np.array([_rollout(rng, job) for _ in range(job.rollouts)])


def _rollout(rng: Generator, job: Job) -> float:
    inputs = open_same_inputs(terms())
    if inputs is None:
        raise ValueError("the benchmark's terms compare no inputs")
    # Some features are spread evenly, of some nearly all rows have one value.
    usual = np.stack([rng.dirichlet(np.full(BINS, concentrated)) for concentrated in np.geomspace(10.0, 0.1, FEATURES)])
    for _ in range(job.looks):
        shares = usual
        if job.scenario == MOVING:
            other = rng.dirichlet(np.ones(BINS), FEATURES)
            shares = 0.7 * usual + 0.3 * other
        of_test = shares
        if job.scenario == MOVED:
            of_test = shares.copy()
            of_test[0] = 0.85 * shares[0] + 0.15 * np.eye(BINS)[0]
        arms = ((of_test, TEST_ROWS), (shares, STABLE_ROWS))
        inputs = inputs.compared(*(_rows(rng, *arm, job.scenario) for arm in arms))
    return inputs.test.max_log_e


def _rows(rng: Generator, shares: FloatArray, rows: int, scenario: str) -> BinRows:
    if scenario != TOGETHER:
        return BinRows([rng.multinomial(rows, share).tolist() for share in shares])
    requests = rows // _TOGETHER
    places = np.stack([rng.choice(BINS, (requests, _TOGETHER), p=share) for share in shares])
    alike = rng.random(places.shape) < _ALIKE
    places = np.where(alike, places[..., :1], places)
    # (features, requests, bins): rows of each request in a bin, and in it or one before.
    by_bin = (places[..., np.newaxis] == np.arange(BINS)).sum(axis=2)
    up_to = by_bin.cumsum(axis=-1)
    own = (up_to * (up_to - 1)).sum(axis=1)
    every = (up_to * (_TOGETHER - 1)).sum(axis=1)
    return BinRows(by_bin.sum(axis=1).tolist(), own.tolist(), every.tolist())
