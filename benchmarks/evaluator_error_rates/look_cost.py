"""What a look costs: 1,000 rollouts of ten gates and 20 features, folded and decided by the product on one core."""

import cProfile
import pstats
import time
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.random import Generator

from benchmarks.evaluator_error_rates import looks
from benchmarks.evaluator_error_rates.behaviour import Behaviour
from benchmarks.evaluator_error_rates.gates import CLASSES
from benchmarks.evaluator_error_rates.looks import STABLE, TEST
from benchmarks.evaluator_error_rates.rollouts import Counted, count
from benchmarks.evaluator_error_rates.runtimes import shape
from benchmarks.evaluator_error_rates.scenarios import CONSTANT, INSTANCES, SLICE_LOOKS
from evaluator.evidence.fold import fold
from evaluator.evidence.state import Look, State, start
from evaluator.terms import Feature, Profile, Terms
from evaluator.verdict.decide import decide
from evaluator.verdict.decision import Circumstances, Phase
from evaluator.window.counts import Series
from services.common.policy.defaults import complete_policy
from services.common.policy.drafts import GateDraft, PolicyDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Meaning, Plan, Step
from services.common.telemetry import catalog

FEATURES, BINS = 20, 10
_WARM: Final = 24
"""Looks at least before the one that is timed: what it takes to have a past, full slices and mature labels. The
rollouts stand at different looks of a slice."""
_BATCHES: Final = (1, 4)
_KINDS: Final = 20
"""Rollouts with counts of their own; the others fold the same ones, which costs as much."""
_GATES: Final = (
    GateDraft(MetricKind.ERRORS, required=True),
    GateDraft(MetricKind.RUNTIME, required=True),
    GateDraft(MetricKind.ACCURACY, required=True),
    *(
        GateDraft(metric, name=f"{metric}-{positive}", positive=positive)
        for metric, positive in (
            (MetricKind.PRECISION, "yes"),
            (MetricKind.RECALL, "yes"),
            (MetricKind.RECALL, "no"),
            (MetricKind.FALSE_POSITIVE_RATE, "yes"),
            (MetricKind.F1, "yes"),
            (MetricKind.F1, "no"),
        )
    ),
    GateDraft(MetricKind.CLASS_BALANCE),
    GateDraft(MetricKind.INPUT_DRIFT),
)


_PARTS: Final = (
    ("fold", ("fold.py", "fold")),
    ("- tests of rates", ("side_by_side.py", "update_each")),
    ("- tests of runtimes", ("runtime.py", "update_each")),
    ("- inputs", ("fold.py", "_watch_inputs")),
    ("- rows of labels by slice", ("label_rows.py", "slice_counts")),
    ("- rows of runtimes", ("arm_rows.py", "runtime_rows")),
    ("- estimates for people", ("intervals.py", "plus")),
    ("decide", ("decide.py", "decide")),
    ("- forecasts", ("reports.py", "_forecast")),
    ("projections onto lines, in tests and forecasts", ("projection.py", "search")),
)


@dataclass(frozen=True, slots=True)
class LookCost:
    """Milliseconds of the processor for one look over all rollouts, and the parts' shares of them."""

    rollouts: int
    milliseconds: float
    where: tuple[tuple[str, float], ...]


def terms() -> Terms:
    """Ten gates and a watch over 20 features."""
    policy, violations = complete_policy(PolicyDraft(gates=_GATES), Meaning("classification", CLASSES, "yes"))
    if violations:
        raise ValueError(f"the product refuses the benchmark's policy: {violations}")
    profiles = [
        Profile(name, 1_500, tuple(Feature(f"f{number}", (1.0 / BINS,) * BINS) for number in range(FEATURES)))
        for name in ("p1", "p2")
    ]
    return Terms("m", "", TEST, STABLE, policy, Plan((Step(),)), False, profiles[1], profiles[0], CLASSES)


def measure(seed: int, rollouts: int) -> LookCost:
    """Folds one look of each rollout and decides."""
    rng = np.random.default_rng(seed)
    kinds = [_prepare(rng, _WARM + number % SLICE_LOOKS) for number in range(min(_KINDS, rollouts))]
    turns = [kinds[number % len(kinds)] for number in range(rollouts)]
    began = time.process_time()
    for state, look, at in turns:
        decide(fold(state, look), at)
    milliseconds = (time.process_time() - began) * 1e3
    return LookCost(rollouts, milliseconds, _profile(kinds))


Prepared = tuple[State, Look, Circumstances]


def _prepare(rng: Generator, warm: int) -> Prepared:
    state = start(terms())
    *before, last = _looks(rng, warm + 1, Behaviour())
    for look in before:
        state = fold(state, look)
    return state, last, Circumstances(Phase.RUNNING, state.time + 30.0, elapsed=600.0)


def _looks(rng: Generator, number: int, test: Behaviour) -> list[Look]:
    world = CONSTANT.make(rng, 1, number)
    made = []
    for sequence in range(1, number + 1):
        place = sequence - 3
        now = world(place)
        counted = count(rng, now, lambda _: test, 1, None)
        series = [_series(rng, counted, instance, now.step, place) for instance in range(len(INSTANCES))]
        made.append(looks.look(place, now.step, judged=now.judged, sequence=sequence, series=series))
    return made


def _series(rng: Generator, counted: Counted, instance: int, step: int, place: int) -> list[Series]:
    """What one process counts in a look; labels come at once, and all of them by the first process."""
    found: list[Series] = []
    for test in (0, 1) if step >= 0 else (0,):
        of = looks.arm(test)
        row = 1 - test
        n, failed = (int(part[row, instance, 0]) for part in (counted.attempts, counted.failed))
        positive = int(counted.positive[row, instance, 0])
        found += looks.attempts(of, step, n, failed)
        found.append(looks.predictions(of, step, place, (n - failed - positive, positive)))
        if instance == 0:
            cells = counted.cells[row, :, 0]
            found += looks.feedback(of, step, place // SLICE_LOOKS, cells)
            found += looks.lags(of, looks.lag_counts(int(cells.sum()), 0))
        for traffic in ("live", "control") if not test else ("live",):
            for batch in _BATCHES:
                histogram = rng.multinomial(max(n // 40, 1) if traffic == "control" else max(n // 2, 1), shape())
                found.append(looks.batches(of["version"], traffic, [int(c) for c in histogram], batch))
        profile = ("p1", "p2")[test]
        for feature in range(FEATURES):
            bins = rng.multinomial(n, [1.0 / BINS] * BINS)
            attributes = looks.at(**of, feature=f"f{feature}", profile=profile)
            labels = tuple(str(number) for number in range(BINS))
            found.append(Series(catalog.INPUT_COUNT.name, attributes, tuple(int(c) for c in bins), labels=labels))
    return found


def _profile(kinds: list[Prepared]) -> tuple[tuple[str, float], ...]:
    """Parts of the time, each with what it calls; `project` is called by tests and by forecasts."""
    profiler = cProfile.Profile()
    profiler.enable()
    for state, look, at in kinds:
        decide(fold(state, look), at)
    profiler.disable()
    entries = pstats.Stats(profiler).stats  # type: ignore[attr-defined] # it has them
    took: dict[tuple[str, str], float] = {}
    for (path, _, name), entry in entries.items():
        key = path.rsplit("/", 1)[-1], name
        took[key] = took.get(key, 0.0) + entry[3]
    total = took["fold.py", "fold"] + took["decide.py", "decide"]
    return tuple((part, took[key] / total) for part, key in _PARTS)
