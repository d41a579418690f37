"""A fleet whose requests are assigned by key: users who come again and again, each with failures of his own."""

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from services.common.telemetry import catalog
from services.common.telemetry.bounds import VALUE_BOUNDS
from tests.fakes.metrics import CLASSES, Fleet, Instance, IntArray

_BUCKETS = 10_000


@dataclass(slots=True)
class KeyedFleet(Fleet):
    """Traffic of users.

    Attributes:
        users: how many there are; user k has 1/k of the first one's requests (Zipf).
        like: how alike users are: the sum of the parameters of the beta distribution of their rates.
        buckets: of each user's key.
        breaks: everything fails in the test arm.
        part: by version, of the labels of right and of wrong answers that would come, the shares that do.
        failing: of each user, where in the distribution of rates his attempts' failures lie; `missing`: his labels'.
    """

    users: int = 2_000
    like: float = 100.0
    breaks: bool = False
    part: dict[str, tuple[float, float]] = field(default_factory=dict)
    buckets: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    failing: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    missing: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        self.buckets = self.random.integers(0, _BUCKETS, self.users)
        self.failing = self.random.beta(*self._shape(self.stable.errors), self.users) / self.stable.errors
        self.missing = self.random.beta(*self._shape(self.stable.wrong), self.users) / self.stable.wrong

    def _shape(self, mean: float) -> tuple[float, float]:
        return mean * self.like, (1.0 - mean) * self.like

    def _tick(self, seconds: float) -> None:
        self.now += seconds
        popular = 1.0 / np.arange(1, self.users + 1) ** 0.5
        requests = self.random.poisson(self.rate * seconds * popular / popular.sum())
        control = min(self.share, _BUCKETS - self.share)
        test_arm = self.buckets < self.share
        control_arm = ~test_arm & (self.buckets < self.share + control)
        arms = (("test", test_arm), ("control", control_arm), ("stable", ~test_arm & ~control_arm))
        for arm, who in arms:
            if who.any():
                self._of_users(arm, np.where(who, requests, 0))

    def _of_users(self, arm: str, requests: IntArray) -> None:
        behaviour = self.test if arm == "test" else self.stable
        version = self.terms.test if arm == "test" else self.terms.stable
        at = self._at(version, "control" if arm == "control" else "live")
        router, worker = self.routers[0], self.workers[0]
        failed = self.random.binomial(requests, np.minimum(self.failing * behaviour.errors, 1.0))
        failed = requests if self.breaks and arm == "test" else failed
        for outcome, by_user in (("ok", requests - failed), ("INTERNAL", failed)):
            labels = (self.terms.segment, outcome, str(self.epoch))
            self._count(router, catalog.ATTEMPT_DURATION, (*at, *labels), 5, int(by_user.sum()))
            self._by_cohort(router, catalog.COHORT_ATTEMPT, (*at, *labels), by_user)
        self._batches(worker, at, behaviour, max(int(requests.sum()), 1))
        answered = requests - failed
        in_slice = (*at, self.terms.segment, f"{self.epoch}.{math.floor(self.now / self.slice_seconds)}")
        counts = [0, int(answered.sum())]
        worker.store.spread(catalog.PREDICTION_COUNT, CLASSES, *in_slice).add(counts)
        labelled = self.random.binomial(answered, self.labelled)
        wrong = self.random.binomial(labelled, np.minimum(self.missing * behaviour.wrong, 1.0))
        right = labelled - wrong
        if version in self.part:
            right, wrong = (self.random.binomial(n, p) for n, p in zip((right, wrong), self.part[version], strict=True))
        for correct, by_user in (("true", right), ("false", wrong)):
            rows = int(by_user.sum())
            predicted = CLASSES[1] if correct == "true" else CLASSES[0]
            router.store.counter(catalog.FEEDBACK_COUNT, *in_slice, predicted, CLASSES[1], correct).add(rows)
            self._count(router, catalog.FEEDBACK_LAG, (*at, correct), 4, rows)
            self._count(router, catalog.FEEDBACK_CLASS_LAG, (*at, CLASSES[1]), 4, rows)
            self._by_cohort(router, catalog.COHORT_FEEDBACK, (*in_slice, "label", correct), by_user)
        if self.reported:
            numbers = self.random.binomial(answered, self.reported)
            engaged = self.random.binomial(numbers, behaviour.engaged)
            zero = VALUE_BOUNDS.index(0.0)
            self._count(router, catalog.FEEDBACK_VALUE, in_slice, zero + 1, int(engaged.sum()))
            self._count(router, catalog.FEEDBACK_VALUE, in_slice, zero, int((numbers - engaged).sum()))
            for good, by_user in (("true", engaged), ("false", numbers - engaged)):
                self._by_cohort(router, catalog.COHORT_FEEDBACK, (*in_slice, "value", good), by_user)

    def _by_cohort(
        self, router: Instance, metric: catalog.Metric, attributes: tuple[str, ...], by_user: IntArray
    ) -> None:
        cohorts = np.bincount(self.buckets % catalog.COHORTS, by_user, catalog.COHORTS).astype(np.int64)
        router.histogram(metric, cohorts, *attributes)

    @staticmethod
    def _count(router: Instance, metric: catalog.Metric, attributes: tuple[str, ...], bucket: int, rows: int) -> None:
        counts = np.zeros(len(metric.bounds) + 1, dtype=np.int64)
        counts[bucket] = rows
        router.histogram(metric, counts, *attributes)
