"""A fleet that counts: Routers and Workers with real metric stores under seeded traffic."""

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from evaluator.gates.distributions import RATIO
from evaluator.terms import Terms
from evaluator.window.arms import BUCKETS
from evaluator.window.readings import Reading
from evaluator.window.snapshots import series_of
from services.common.telemetry import catalog
from services.common.telemetry.store import MetricStore
from tests.fakes.inputs import count_inputs
from tests.fakes.late_labels import Label, LateLabels
from tests.fakes.pairs import count_paired_labels, count_pairs

IntArray = npt.NDArray[np.int64]
CLASSES = ("3", "7")


@dataclass(slots=True)
class Behaviour:
    """How a version answers: error rate, share of wrong answers (of positives missed), median seconds of a batch and
    what each row adds to them, share of the batches that take ten times as long, (of a regression) median absolute
    error, share of the callers that report engagement; and rates of callers in the segment eu, None: as all."""

    errors: float = 0.002
    wrong: float = 0.08
    seconds: float = 0.002
    missed: float = 0.08
    off: float = 1.0
    engaged: float = 0.3
    european_errors: float | None = None
    european_wrong: float | None = None
    row_seconds: float = 0.0
    slow_batches: float = 0.0


@dataclass(slots=True)
class Instance:
    """One process's counters."""

    name: str
    worker: bool
    store: MetricStore = field(default_factory=MetricStore)

    def histogram(self, metric: catalog.Metric, counts: IntArray, *attributes: str) -> None:
        """Counts a histogram's worth."""
        series = self.store.histogram(metric, *attributes)
        series.counts = [a + int(b) for a, b in zip(series.counts, counts, strict=True)]

    def read(self, now: float, terms: Terms) -> Reading:
        """What a look gets from it."""
        return Reading(self.name, round(now * 1e6), series_of(self.store.snapshot(), terms))


@dataclass(slots=True)
class Fleet:
    """Traffic of one lane under one rollout.

    Attributes:
        terms: what the rollout is judged by.
        random: where chance comes from.
        rate: requests per second.
        test: how the test version answers.
        stable: how the stable version answers.
        control: how its control process answers; None: as all of stable.
        labelled: share of the answers that get a label.
        test_labelled: the same of the test version's; None: as all.
        lag: mean seconds until the label comes.
        wrong_lag: how much later the label of a wrong answer comes.
        negative_lag: how much later the label of a row that is not of the class 3 comes.
        positives: share of the rows that are of the class 3; the others are of 7.
        seldom: share of the answers 7 whose label comes, of those that would get one; all of the answers 3 do.
        shift: share of each feature's mass that has moved to its last bin; 0: no drift.
        test_shift: the same against the test version's profile; None: as all.
        test_others: the same of the test version's requests against stable's profile; None: as all.
        now: seconds since 1970-01-01 UTC.
        share: the test version's, in basis points.
        epoch: the lane's.
        slice_seconds: the length of a slice.
        shadow: the test version gets a copy of control's requests, and its answers reach nobody.
        different: share of the mirrored rows that it answers otherwise.
        mirrored: share of control's requests that it gets a copy of.
        regression: answers are numbers, and off by so much.
        cut: a Router's breaker is open: one in a hundred of the requests drawn for the test version comes to it.
        lost: share of the requests drawn for the test arm that are not counted as drawn: a broken split.
        paired: share of the mirrored rows whose label meets both answers; 0: none.
        paired_wrong: the same of those on which stable is wrong; None: as all.
        european: share of the requests whose callers are in the segment eu, which gates may watch by itself.
        european_labelled: share of their answers that get a label; None: as all.
        batch: rows of every batch; 0: 1, 2 or 4.
        slow: bucket of crossfade.attempt.duration that good answers fall into; failures are fast.
        reported: share of the answers for which callers report a number, 20 for engagement and 0 for none.
        routers: processes that count attempts and labels.
        workers: processes that count answers, inputs and batches.
        labels: those that have not come yet.
        apart: chance for what not all rollouts count.
    """

    terms: Terms
    random: Generator
    rate: float = 400.0
    test: Behaviour = field(default_factory=Behaviour)
    stable: Behaviour = field(default_factory=Behaviour)
    control: Behaviour | None = None
    labelled: float = 0.9
    test_labelled: float | None = None
    lag: float = 1.0
    wrong_lag: float = 0.0
    negative_lag: float = 0.0
    positives: float = 0.0
    seldom: float = 1.0
    shift: float = 0.0
    test_shift: float | None = None
    test_others: float | None = None
    now: float = 1_000_000.0
    share: int = 0
    epoch: int = 1
    slice_seconds: float = 300.0
    shadow: bool = False
    different: float = 0.02
    mirrored: float = 1.0
    regression: bool = False
    reported: float = 0.0
    cut: bool = False
    lost: float = 0.0
    paired: float = 0.0
    paired_wrong: float | None = None
    european: float = 0.0
    european_labelled: float | None = None
    batch: int = 0
    slow: int = 5
    routers: tuple[Instance, ...] = field(default_factory=lambda: (Instance("router-1", worker=False),))
    workers: tuple[Instance, ...] = field(default_factory=lambda: (Instance("worker-1", worker=True),))
    labels: LateLabels = field(default_factory=LateLabels)
    apart: Generator = field(init=False)

    def __post_init__(self) -> None:
        """Chance of its own for what not all rollouts count, so that these go on as they went without it."""
        (self.apart,) = self.random.spawn(1)

    @property
    def instances(self) -> tuple[Instance, ...]:
        """Every process."""
        return (*self.routers, *self.workers)

    def run(self, seconds: float, ticks: int = 2) -> None:
        """Lets traffic flow."""
        for _ in range(ticks):
            self._tick(seconds / ticks)

    def _tick(self, seconds: float) -> None:
        self.now += seconds
        requests = int(self.random.poisson(self.rate * seconds))
        share = self.share / 10_000
        control = min(share, 1.0 - share)
        if self.shadow:
            copies = int(self.random.binomial(requests, share))
            parts = [round(copies * self.mirrored), copies, requests - copies]
        else:
            parts = self.random.multinomial(requests, [share, control, max(0.0, 1.0 - share - control)]).tolist()
        for arm, part in zip(("test", "control", "stable"), parts, strict=True):
            # Of a SHADOW step what is drawn for control is copied.
            count = 0 if self.shadow and arm == "test" else part
            kept = 1.0 - self.lost if arm == "test" else 1.0
            at_epoch = (self.terms.model, self.terms.segment, arm, str(self.epoch))
            self.routers[0].store.counter(catalog.ROUTE_COUNT, *at_epoch).add(round(count * kept))
        for arm, part in zip(("test", "control", "stable"), parts, strict=True):
            if part and arm == "test" and self.cut:
                self._probe(part)
            elif part:
                self._serve(arm, part)
        self.labels.count(self.routers[0].store, self.terms, self.now, regression=self.regression)

    def _at(self, version: str, traffic: str) -> tuple[str, str, str]:
        return self.terms.model, version, traffic

    def _serve(self, arm: str, requests: int) -> None:
        version = self.terms.test if arm == "test" else self.terms.stable
        mirrored = arm == "test" and self.shadow
        traffic = "control" if arm == "control" else "shadow" if mirrored else "live"
        behaviour = {"test": self.test, "control": self.control or self.stable}.get(arm, self.stable)
        router = self.routers[int(self.random.integers(len(self.routers)))]
        worker = self.workers[int(self.random.integers(len(self.workers)))]
        at = self._at(version, traffic)
        failed = self._attempts(router, at, behaviour, requests)
        self._batches(worker, at, behaviour, requests)
        answered = requests - failed
        self._europeans(router, at, behaviour, requests)
        number_in_time = f"{self.epoch}.{math.floor(self.now / self.slice_seconds)}"
        wrong = self.random.random(answered) < behaviour.wrong
        positive = np.zeros(answered, dtype=bool)
        if self.positives:
            positive = self.random.random(answered) < self.positives
            wrong = np.where(positive, self.random.random(answered) < behaviour.missed, wrong)
        taken = positive != wrong
        counts = [int(taken.sum()), answered - int(taken.sum())]
        worker.store.spread(catalog.PREDICTION_COUNT, CLASSES, *at, self.terms.segment, number_in_time).add(counts)
        self._inputs(worker, at, answered)
        if mirrored:
            count_pairs(router.store, (*at, self.terms.segment), answered, self.different, self.random)
            wrongs = (self.stable.wrong, self.test.wrong)
            paired = (self.paired, self.paired if self.paired_wrong is None else self.paired_wrong)
            in_slice = (*at, self.terms.segment, number_in_time)
            count_paired_labels(router.store, in_slice, answered, wrongs, paired, self.random)
            return
        if self.reported:
            numbers = self.random.random(answered) < self.reported
            engaged = int(self.random.binomial(int(numbers.sum()), behaviour.engaged))
            at_slice = (*at, self.terms.segment, number_in_time)
            values = router.store.histogram(catalog.FEEDBACK_VALUE, *at_slice)
            for worth, rows in ((20.0, engaged), (0.0, int(numbers.sum()) - engaged)):
                for _ in range(rows):
                    values.record(worth)
        asked = self.test_labelled if arm == "test" and self.test_labelled is not None else self.labelled
        labelled = self._labelled(asked, taken)
        due = self.now + self.random.exponential(self.lag, answered)
        if self.regression:
            errors = behaviour.off * np.exp(0.8 * self.random.standard_normal(answered))
            self.labels.wait(
                Label(float(when), self.now, version, traffic, number_in_time, f"{error}")
                for when, error in zip(due[labelled], errors[labelled], strict=True)
            )
            return
        due = due + self.wrong_lag * wrong + self.negative_lag * ~positive
        self.labels.wait(
            Label(
                *(float(when), self.now, version, traffic, number_in_time),
                CLASSES[1 - int(said)],
                CLASSES[1 - int(is_)],
            )
            for when, said, is_ in zip(due[labelled], taken[labelled], positive[labelled], strict=True)
        )

    def _probe(self, drawn: int) -> None:
        """What an open breaker lets through; the rest is stable's, and counted for nobody."""
        probes = int(self.random.binomial(drawn, catalog.PROBED))
        self._attempts(self.routers[0], self._at(self.terms.test, "reduced"), self.test, probes)

    def _attempts(self, router: Instance, at: tuple[str, str, str], behaviour: Behaviour, requests: int) -> int:
        """Counts attempts, and answers how many failed."""
        failed = int(self.random.binomial(requests, behaviour.errors))
        for outcome, number in (("ok", requests - failed), ("INTERNAL", failed)):
            calls = np.zeros(len(catalog.ATTEMPT_DURATION.bounds) + 1, dtype=np.int64)
            calls[self.slow if outcome == "ok" else 5] = number
            if number:
                labels = (self.terms.segment, outcome, str(self.epoch))
                router.histogram(catalog.ATTEMPT_DURATION, calls, *at, *labels)
        return failed

    def _labelled(self, asked: float, taken: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which answers get a label; `taken`: those that are 3."""
        labelled = self.random.random(len(taken)) < asked
        if self.seldom < 1.0:
            labelled &= taken | (self.random.random(len(taken)) < self.seldom)
        return labelled

    def _europeans(self, router: Instance, at: tuple[str, str, str], behaviour: Behaviour, requests: int) -> None:
        """Their failures and labels, which come at once; in all others' counts they are as everybody."""
        if "eu" not in self.terms.callers:
            return
        theirs = int(self.random.binomial(requests, self.european))
        errors = behaviour.errors if behaviour.european_errors is None else behaviour.european_errors
        wrong = behaviour.wrong if behaviour.european_wrong is None else behaviour.european_wrong
        failed = int(self.random.binomial(theirs, errors))
        for outcome, rows in (("ok", theirs - failed), ("INTERNAL", failed)):
            where = (*at, self.terms.segment, outcome, str(self.epoch), "eu")
            router.store.counter(catalog.CALLER_ATTEMPT_COUNT, *where).add(rows)
        share = self.labelled if self.european_labelled is None else self.european_labelled
        labelled = int(self.random.binomial(theirs - failed, share))
        missed = int(self.random.binomial(labelled, wrong))
        number = f"{self.epoch}.{math.floor(self.now / self.slice_seconds)}"
        in_slice = (*at, self.terms.segment, number, "eu")
        router.store.counter(catalog.CALLER_PREDICTION_COUNT, *in_slice).add(theirs - failed)
        for correct, rows in (("true", labelled - missed), ("false", missed)):
            router.store.counter(catalog.CALLER_FEEDBACK_COUNT, *in_slice, correct).add(rows)

    def _batches(self, worker: Instance, at: tuple[str, str, str], behaviour: Behaviour, requests: int) -> None:
        batches = 2 ** self.random.integers(0, 3, max(1, requests // 2))
        if self.batch:
            batches[:] = self.batch
        seconds = behaviour.seconds + behaviour.row_seconds * batches
        seconds = seconds * np.exp(0.2 * self.random.standard_normal(len(batches)))
        if behaviour.slow_batches:
            seconds = np.where(self.random.random(len(seconds)) < behaviour.slow_batches, 10.0 * seconds, seconds)
        buckets = np.clip(np.ceil(np.log(seconds / 50e-6) / np.log(RATIO)), 0, BUCKETS - 1).astype(int)
        for batch in (self.batch,) if self.batch else (1, 2, 4):
            inside = buckets[batches == batch]
            if len(inside):
                histogram = np.bincount(inside, minlength=BUCKETS)
                worker.histogram(catalog.INFERENCE_DURATION, histogram, *at, str(batch), "fp32")

    def _inputs(self, worker: Instance, at: tuple[str, str, str], rows: int) -> None:
        test = at[1] == self.terms.test
        profile = self.terms.test_profile if test else self.terms.stable_profile
        if profile is None:
            return
        in_segment = (*at, self.terms.segment)
        shift = self.test_shift if test and self.test_shift is not None else self.shift
        count_inputs(worker.store, in_segment, rows, profile, shift, self.random)
        if test and self.terms.stable_profile not in (None, profile):
            others = self.shift if self.test_others is None else self.test_others
            count_inputs(worker.store, in_segment, rows, self.terms.stable_profile, others, self.apart)
