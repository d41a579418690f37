"""A book of labels with its store and clock."""

from services.common.feedback import FeedbackBook
from services.common.prediction_token import Prediction, TokenKeys
from services.common.telemetry import catalog
from services.common.telemetry.store import MetricStore
from tests.fakes.clock import ManualClock

KEYS = TokenKeys({1: b"k" * 32}, signing=1)

CLASSES = {
    ("churn", "v1"): ("keep", "churn"),
    ("churn", "v2"): ("keep", "churn"),
    ("price", "v1"): (),
    ("wide", "v1"): tuple(f"c{n}" for n in range(40)),
    ("words", "v1"): tuple(f"c{n}" for n in range(catalog.COUNTED_CLASSES + 1)),
}


class Desk:
    """A book with its store and clock."""

    def __init__(self, remembered: int = 1_000, pairs: int = 1_000, late: int = 1_000) -> None:
        self.clock = ManualClock()
        self.store = MetricStore()
        self.book = FeedbackBook(
            KEYS, self.store, self.clock, lambda model, version: CLASSES.get((model, version)), remembered, pairs, late
        )
        self._nonce = 0

    def token(self, **changes: object) -> str:
        self._nonce += 1
        base = Prediction(self._nonce, int(self.clock.now() * 1000), 3, 10, 1, "churn", "v1", "", (1, 0))
        return KEYS.sign(base._replace(**changes))  # type: ignore[arg-type]  # fields by name

    def counts(self) -> dict[tuple[str, ...], int]:
        return {
            snapshot.attributes: snapshot.counts[0]
            for snapshot in self.store.snapshot()
            if snapshot.metric is catalog.FEEDBACK_COUNT
        }


def late(desk: Desk) -> dict[tuple[str, ...], int]:
    """Labels that came too late, by arm."""
    return {one.attributes: one.counts[0] for one in desk.store.snapshot() if one.metric is catalog.FEEDBACK_LATE_COUNT}
