"""Labels that are under way, and how they are counted once they have come."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

from evaluator.terms import Terms
from services.common.telemetry import catalog
from services.common.telemetry.store import MetricStore


class Label(NamedTuple):
    """Of one row.

    Attributes:
        due: when it comes.
        served: when the row was answered.
        version: that answered it.
        traffic: in which it was.
        slice: in which it was.
        predicted: the class that was answered; of a regression, by how much the answer was off.
        actual: the class that is right.
    """

    due: float
    served: float
    version: str
    traffic: str
    slice: str
    predicted: str
    actual: str = ""


@dataclass(slots=True)
class LateLabels:
    """Labels that have not come yet, as a heap: those of hours may wait."""

    _waiting: list[Label] = field(default_factory=list)

    def wait(self, labels: Iterable[Label]) -> None:
        """They come when they are due."""
        for label in labels:
            heappush(self._waiting, label)

    def count(self, store: MetricStore, terms: Terms, now: float, *, regression: bool) -> None:
        """Counts those that are due, and forgets them."""
        for label in self.take(now):
            _count(store, terms, label, regression=regression)

    def take(self, now: float) -> list[Label]:
        """Takes out those that are due."""
        due = []
        while self._waiting and self._waiting[0].due <= now:
            due.append(heappop(self._waiting))
        return due


def _count(store: MetricStore, terms: Terms, label: Label, *, regression: bool) -> None:
    of = (terms.model, label.version, label.traffic)
    in_slice = (*of, terms.segment, label.slice)
    if regression:
        store.histogram(catalog.FEEDBACK_ERROR, *in_slice).record(float(label.predicted))
        store.histogram(catalog.FEEDBACK_LAG, *of, "").record(label.due - label.served)
        return
    correct = "true" if label.predicted == label.actual else "false"
    store.counter(catalog.FEEDBACK_COUNT, *in_slice, label.predicted, label.actual, correct).add()
    store.histogram(catalog.FEEDBACK_LAG, *of, correct).record(label.due - label.served)
    store.histogram(catalog.FEEDBACK_CLASS_LAG, *of, label.actual).record(label.due - label.served)
