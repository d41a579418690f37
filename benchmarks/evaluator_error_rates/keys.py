"""Rollouts by key: wrong rollbacks, wrong promotions and what is found, by the product's cohorts and looks."""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from benchmarks.evaluator_error_rates.gates import CLASSES, Bar
from benchmarks.evaluator_error_rates.jobs import SEED, spread
from evaluator.gates.cohorts import CohortGate
from evaluator.statistics.cohorts import CohortCounts
from evaluator.statistics.process import log_threshold
from evaluator.statistics.schedule import LAST_LOOK
from services.common.policy.defaults import complete_policy
from services.common.policy.drafts import PolicyDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin, Meaning, Policy
from services.common.telemetry.catalog import COHORTS

_BUCKETS: Final = 10_000
_BLOCK: Final = 50
_WINDOWS: Final = 64
_UNCHANGED: Final = GateMargin()
_ERRORS, _ACCURACY = MetricKind.ERRORS, MetricKind.ACCURACY


@dataclass(frozen=True, slots=True)
class Crowd:
    """Users and what they send.

    Attributes:
        name: for the table.
        users: how many.
        zipf: user k sends k^-zipf of what the first one does.
        requests: of all of them in the step's period (labels, for accuracy).
        shape: of the beta distribution of their rates.
    """

    name: str
    users: int
    zipf: float
    requests: int
    shape: tuple[float, float]


HEAVY_ERRORS: Final = Crowd("10,000 users by Zipf, one in 200 of whom fails always", 10_000, 1.0, 720_000, (0.01, 1.99))
ERRORS: Final = Crowd("10,000 users by Zipf with rates alike", 10_000, 1.0, 720_000, (0.5, 99.5))
HEAVY_LABELS: Final = Crowd("10,000 users by Zipf", 10_000, 1.0, 72_000, (1.0, 9.0))
MANY_LABELS: Final = Crowd("50,000 users by k^-0.8", 50_000, 0.8, 360_000, (1.0, 9.0))
MANY_ERRORS: Final = Crowd("50,000 users by k^-0.8", 50_000, 0.8, 720_000, (0.5, 99.5))


@dataclass(frozen=True, slots=True)
class Case:
    """One row.

    Attributes:
        kind: `alike`, `harm edge`, `safe edge`, or an effect's name.
        metric: the gate.
        crowd: who comes.
        share: the test version's.
        worse: what the test version makes of a user's rate; `factor` and `offset` of one margin.
        broken: windows, one after another, in which everything fails in the test arm alone.
    """

    kind: str
    metric: MetricKind
    crowd: Crowd
    share: float
    worse: GateMargin = _UNCHANGED
    broken: int = 0

    @property
    def at(self) -> str:
        """Who is asked, and how many of them have the test version."""
        return f"{self.crowd.name}, {self.share:.0%}"


ALIKE, HARM_EDGE, SAFE_EDGE, BROKEN = "alike", "at the margin of harm", "at the safe margin", "alike, test breaks down"


def cases() -> list[Case]:
    """Every row of the table."""
    made = []
    for metric, crowds in ((_ERRORS, (HEAVY_ERRORS, ERRORS)), (_ACCURACY, (HEAVY_LABELS,))):
        gate = _bar(metric).gate
        made += [Case(ALIKE, metric, crowd, share) for crowd in crowds for share in (0.05, 0.5)]
        for share in (0.05, 0.5):
            made.append(Case(HARM_EDGE, metric, crowds[-1], share, gate.harm))
            made.append(Case(SAFE_EDGE, metric, crowds[-1], share, gate.safe))
    made += [Case(ALIKE, _ERRORS, ERRORS, share) for share in (0.9, 0.99)]
    made += [Case(BROKEN, _ERRORS, MANY_ERRORS, share, broken=2) for share in (0.05, 0.5)]
    made += [
        Case("errors 0.5 -> 2 %", _ERRORS, MANY_ERRORS, 0.5, GateMargin(4.0)),
        Case("accuracy 90 -> 87 %", _ACCURACY, MANY_LABELS, 0.5, GateMargin(1.0, 0.03)),
        Case(ALIKE, _ACCURACY, MANY_LABELS, 0.5),
        Case("fails everybody", _ERRORS, HEAVY_ERRORS, 0.05, GateMargin(1.0, 1.0)),
        Case("fails everybody", _ERRORS, MANY_ERRORS, 0.05, GateMargin(1.0, 1.0)),
    ]
    return made


@cache
def _policy() -> Policy:
    """The default one of a classification by key."""
    return complete_policy(PolicyDraft(), Meaning("classification", CLASSES), sticky=True)[0]


@cache
def _bar(metric: MetricKind) -> Bar:
    gate = next(gate for gate in _policy().gates if gate.metric is metric)
    return Bar(gate, _policy().gate_alpha(gate))


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one case: shares of the rollouts that were rolled back and that passed, and how much of the period the
    rollback took."""

    case: Case
    rolled_back: float
    passed: float
    part: float


def measure(rollouts: int, processes: int, say: Callable[[str], None]) -> list[Outcome]:
    """Every case, `rollouts` times."""
    found = []
    for case in cases():
        blocks = [(case, number, min(_BLOCK, rollouts - number)) for number in range(0, rollouts, _BLOCK)]
        table = np.concatenate(list(spread(_run, blocks, processes)))
        harmful = ~np.isnan(table[:, 0])
        part = float(table[harmful, 0].mean()) if harmful.any() else math.nan
        found.append(Outcome(case, float(harmful.mean()), float(table[:, 1].mean()), part))
        say(f"by key: {case.kind}, {case.metric}")
    return found


def _run(block: tuple[Case, int, int]) -> npt.NDArray[np.float64]:
    """(rollouts, 2): when harm was shown in parts of the period (NaN: never), and whether it passed before."""
    case, first, rollouts = block
    name = zlib.crc32(f"{case.kind}/{case.metric}/{case.at}".encode())
    rng = np.random.default_rng([SEED, name, first])
    return np.array([_rollout(case, rng) for _ in range(rollouts)])


def _rollout(case: Case, rng: Generator) -> tuple[float, float]:
    """When harm is shown, in parts of the period (NaN: never), and whether it passed before."""
    bar = _bar(case.metric)
    counted = _windows(case, rng)
    agreeing = 3 if case.metric is _ERRORS else 1
    gate, passed = CohortGate.open(bar.gate, 1, agreeing).enter(1), 0.0
    for window in counted:
        at = gate.schedule.following
        seen = CohortCounts(*window)
        gate = gate.add(seen, seen).reach(at)
        if gate.harm.max_log_e >= bar.harm:
            return at, passed
        passed = max(passed, float(gate.safe.log_e >= log_threshold(_policy().alpha_promote)))
    return math.nan, passed


def _windows(case: Case, rng: Generator) -> npt.NDArray[np.float64]:
    """A window between looks, (windows, 4, cohorts): requests and bad ones of the test and of the stable arm.

    What users send are Poisson's processes, of which the bad requests and the others are two that know nothing of each
    other: so a cohort's are drawn by what its users send together.
    """
    crowd = case.crowd
    weights = np.arange(1, crowd.users + 1) ** -crowd.zipf
    sent = crowd.requests * LAST_LOOK / _WINDOWS * weights / weights.sum()
    buckets = rng.integers(0, _BUCKETS, crowd.users)
    test = buckets < case.share * _BUCKETS
    usual = rng.beta(*crowd.shape, crowd.users)
    rates = np.where(test, np.minimum(case.worse.factor * usual + case.worse.offset, 1.0), usual)
    bad, good = (
        np.array([np.bincount(buckets[who] % COHORTS, part[who], COHORTS) for who in (test, ~test)])
        for part in (sent * rates, sent * (1.0 - rates))
    )
    x, others = (rng.poisson(np.broadcast_to(mean, (_WINDOWS, *mean.shape))) for mean in (bad, good))
    n = x + others
    if case.broken:
        begin = int(rng.integers(0, _WINDOWS - case.broken))
        x[begin : begin + case.broken, 0] = n[begin : begin + case.broken, 0]
    return np.stack((n[:, 0], x[:, 0], n[:, 1], x[:, 1]), axis=1).astype(np.float64)
