"""What the Evaluator counts of itself."""

from typing import Final

from services.common.telemetry.catalog import CALL_BOUNDS, Kind, Metric
from services.common.telemetry.store import MetricStore

LOOK_DURATION: Final = Metric(
    "crossfade.look.duration",
    Kind.HISTOGRAM,
    "s",
    "Time of one look at one rollout.",
    ("outcome",),
    CALL_BOUNDS,
)
DECISION_COUNT: Final = Metric(
    "crossfade.decision.count",
    Kind.COUNTER,
    "1",
    "Decisions carried out, by action.",
    ("action",),
)
ROLLOUTS_WATCHED: Final = Metric(
    "crossfade.rollouts.watched",
    Kind.GAUGE,
    "1",
    "Live rollouts that are looked at.",
    (),
)


class Meters:
    """The Evaluator's own series.

    Args:
        store: where they are kept.
    """

    def __init__(self, store: MetricStore) -> None:
        self._store = store

    def looked(self, outcome: str, seconds: float) -> None:
        """Counts a look that came to an end."""
        self._store.histogram(LOOK_DURATION, outcome).record(seconds)

    def decided(self, action: str) -> None:
        """Counts a decision that was carried out."""
        self._store.counter(DECISION_COUNT, action).add()

    def watched(self, rollouts: int) -> None:
        """Says how many rollouts are looked at."""
        self._store.gauge(ROLLOUTS_WATCHED).set(rollouts)
