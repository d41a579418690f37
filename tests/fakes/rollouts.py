"""A fleet that counts: Routers and Workers with cumulative series under seeded traffic, for whole rollouts."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from evaluator.arms import ATTEMPTS, BUCKETS, FEEDBACK, INFERENCE, INPUTS, PREDICTIONS
from evaluator.counts import Counts, Key, Series, arrange
from evaluator.decide import Action, Circumstances, Decision, Phase, decide
from evaluator.fold import Look, State, fold, start
from evaluator.gates import RATIO
from evaluator.terms import Profile, Terms
from evaluator.windows import Reading, take
from services.common.telemetry import catalog


@dataclass(slots=True)
class Behaviour:
    """How a version answers: error rate, wrong answers, median seconds of a batch."""

    errors: float = 0.002
    wrong: float = 0.08
    seconds: float = 0.002


@dataclass(slots=True)
class Instance:
    """One process's cumulative counters."""

    name: str
    counts: dict[Key, np.ndarray] = field(default_factory=dict)
    labels: dict[Key, tuple[str, ...]] = field(default_factory=dict)

    def add(self, metric: str, counts: "np.ndarray", labels: tuple[str, ...] = (), **attributes: str) -> None:
        """Counts into one series."""
        key = (metric, tuple(sorted(attributes.items())))
        if key in self.counts:
            self.counts[key] = self.counts[key] + counts
        else:
            self.counts[key] = np.array(counts, dtype=np.int64)
        self.labels[key] = labels

    def read(self, now: float) -> Reading:
        """What a scrape of it gives."""
        series = {
            key: Series(key[0], key[1], tuple(int(count) for count in counts), labels=self.labels[key])
            for key, counts in self.counts.items()
        }
        return Reading(self.name, round(now * 1e6), arrange(series))


@dataclass(slots=True)
class Fleet:
    """Traffic of one lane under one rollout, look by look.

    Attributes:
        terms: what the rollout is judged by.
        random: where chance comes from.
        rate: requests per second.
        test: how the test version answers.
        stable: how the stable version answers.
        labelled: share of the answers that get a label.
        lag: mean seconds until the label comes.
        shift: share of the mass of each feature's last bin that is added to it: 0, no drift.
    """

    terms: Terms
    random: Generator
    rate: float = 400.0
    test: Behaviour = field(default_factory=Behaviour)
    stable: Behaviour = field(default_factory=Behaviour)
    labelled: float = 0.9
    lag: float = 1.0
    shift: float = 0.0
    now: float = 1_000_000.0
    share: int = 0
    epoch: int = 1
    slice_seconds: float = 300.0
    routers: tuple[Instance, ...] = field(default_factory=lambda: (Instance("router-1"),))
    workers: tuple[Instance, ...] = field(default_factory=lambda: (Instance("worker-1"),))
    waiting: list[tuple[float, str, str, str, bool]] = field(default_factory=list)

    @property
    def instances(self) -> tuple[Instance, ...]:
        """Every process."""
        return (*self.routers, *self.workers)

    def run(self, seconds: float) -> None:
        """Lets traffic flow."""
        steps = max(1, round(seconds))
        for _ in range(steps):
            self._tick(seconds / steps)

    def _tick(self, seconds: float) -> None:
        self.now += seconds
        requests = int(self.random.poisson(self.rate * seconds))
        share = self.share / 10_000
        test, control, stable = self.random.multinomial(requests, [share, share, 1.0 - 2.0 * share])
        self._serve("test", int(test))
        self._serve("control", int(control))
        self._serve("stable", int(stable))
        due = [item for item in self.waiting if item[0] <= self.now]
        self.waiting = [item for item in self.waiting if item[0] > self.now]
        for _, version, traffic, number, wrong in due:
            self.routers[0].add(
                FEEDBACK,
                np.array([1]),
                ("7",),
                version=version,
                traffic=traffic,
                segment=self.terms.segment,
                slice=number,
                predicted="3" if wrong else "7",
            )

    def _serve(self, arm: str, requests: int) -> None:
        if not requests:
            return
        version = self.terms.test if arm == "test" else self.terms.stable
        traffic = "control" if arm == "control" else "live"
        behaviour = self.test if arm == "test" else self.stable
        router = self.routers[int(self.random.integers(len(self.routers)))]
        worker = self.workers[int(self.random.integers(len(self.workers)))]
        failed = int(self.random.binomial(requests, behaviour.errors))
        calls = np.zeros(len(catalog.ATTEMPT_DURATION.bounds) + 1, dtype=np.int64)
        at = {"version": version, "traffic": traffic}
        for outcome, number in (("ok", requests - failed), ("INTERNAL", failed)):
            if number:
                calls[5] = number
                router.add(ATTEMPTS, calls, outcome=outcome, epoch=str(self.epoch), segment=self.terms.segment, **at)
        self._batches(worker, at, behaviour, requests)
        number = f"{self.epoch}.{math.floor(self.now / self.slice_seconds)}"
        answered = requests - failed
        worker.add(PREDICTIONS, np.array([answered]), ("7",), slice=number, segment=self.terms.segment, **at)
        self._inputs(worker, at, answered)
        labels = int(self.random.binomial(answered, self.labelled))
        wrong = self.random.random(labels) < behaviour.wrong
        due = self.now + self.random.exponential(self.lag, labels)
        self.waiting += [
            (float(when), version, traffic, number, bool(bad)) for when, bad in zip(due, wrong, strict=True)
        ]

    def _batches(self, worker: Instance, at: dict[str, str], behaviour: Behaviour, requests: int) -> None:
        rows = self.random.geometric(0.5, max(1, requests // 2))
        seconds = behaviour.seconds * np.exp(0.2 * self.random.standard_normal(len(rows)))
        buckets = np.clip(np.ceil(np.log(seconds / 50e-6) / np.log(RATIO)), 0, BUCKETS - 1).astype(int)
        for batch in (1, 2, 4):
            inside = rows <= batch if batch == 1 else (rows > batch // 2) & (rows <= batch)
            if inside.any():
                histogram = np.bincount(buckets[inside], minlength=BUCKETS)
                worker.add(INFERENCE, histogram, batch=str(batch), precision="fp32", **at)

    def _inputs(self, worker: Instance, at: dict[str, str], rows: int) -> None:
        test = at["version"] == self.terms.test
        profile = self.terms.test_profile if test else self.terms.stable_profile
        if profile is None or not rows:
            return
        for feature in profile.features:
            chances = np.array(feature.proportions) * (1.0 - self.shift)
            chances[-1] += self.shift
            counts = self.random.multinomial(rows, chances / chances.sum())
            labels = tuple(str(number) for number in range(len(counts)))
            worker.add(INPUTS, counts, labels, feature=feature.name, profile=profile.profile_id, **at)


@dataclass(slots=True)
class Trial:
    """A rollout carried through by the product's own windows, fold and decisions, without any server.

    Attributes:
        looks: all that was recorded.
        decisions: what each look concluded.
    """

    fleet: Fleet
    state: State
    cursor: Counts = ()
    phase: Phase = Phase.WAITING
    step: int = 0
    step_start: float = 0.0
    paused: float = 0.0
    pause_start: float = 0.0
    looks: list[Look] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    outcome: Decision | None = None
    started: float = 0.0

    @classmethod
    def of(cls, fleet: Fleet) -> "Trial":
        """A rollout that waits for a Worker."""
        return cls(fleet, start(fleet.terms))

    def begin(self) -> None:
        """A Worker has the version: the first step begins."""
        self.phase = Phase.RUNNING
        self.started = self.fleet.now
        self._enter(0)

    def _enter(self, step: int) -> None:
        self.step, self.step_start, self.paused = step, self.fleet.now, 0.0
        self.fleet.share = self.fleet.terms.plan.steps[step].share_bps
        self.fleet.slice_seconds = self.fleet.terms.plan.steps[step].slice_seconds
        self.fleet.epoch += 1

    def look(self, *, unreadable: frozenset[str] = frozenset(), holds: tuple[str, ...] = ()) -> Decision:
        """One look, and what follows from it."""
        fleet, policy = self.fleet, self.fleet.terms.policy
        fleet.run(policy.look_interval)
        readings = [
            one.read(fleet.now) if one.name not in unreadable else Reading(one.name, round(fleet.now * 1e6), None)
            for one in fleet.instances
        ]
        taken = take(self.cursor, readings, first=not self.looks)
        settled = self.state.epoch == fleet.epoch and fleet.now - self.state.epoch_since >= policy.settling
        judged = self.phase is not Phase.WAITING and settled and bool(taken.window)
        look = Look(len(self.looks) + 1, fleet.epoch, self.step, judged, taken.window)
        self.cursor = taken.cursor
        self.looks.append(look)
        self.state = fold(self.state, look)
        paused = fleet.now - self.pause_start if self.phase.paused else 0.0
        elapsed = fleet.now - self.step_start - self.paused - paused if self.step_start else 0.0
        stale = tuple(f"{problem.instance_id} {problem.reason}" for problem in taken.problems)
        waits = () if judged else ("settling",)
        decision = decide(self.state, Circumstances(self.phase, fleet.now, elapsed, holds=(*holds, *stale, *waits)))
        self.decisions.append(decision)
        self._act(decision)
        return decision

    def _act(self, decision: Decision) -> None:
        match decision.action:
            case Action.NONE:
                return
            case Action.ADVANCE:
                self._enter(self.step + 1)
            case Action.PAUSE:
                self.phase, self.pause_start = Phase.PAUSED_BY_DRIFT, self.fleet.now
            case Action.RESUME:
                self.phase = Phase.RUNNING
                self.paused += self.fleet.now - self.pause_start
            case Action.PROMOTE | Action.ROLLBACK | Action.CANCEL:
                self.outcome = decision

    def run(self, looks: int) -> Decision | None:
        """Looks until the rollout ends, `looks` times at most."""
        for _ in range(looks):
            self.look()
            if self.outcome is not None:
                return self.outcome
        return None

    @property
    def seconds(self) -> float:
        """Since the first step began."""
        return self.fleet.now - self.started


def profile(name: str, features: int, bins: int = 10, rows: int = 1500) -> Profile:
    """A reference profile with bins of equal mass."""
    from evaluator.terms import Feature

    shares = tuple(1.0 / bins for _ in range(bins))
    return Profile(name, rows, tuple(Feature(f"pixel_{number}", shares) for number in range(features)))
