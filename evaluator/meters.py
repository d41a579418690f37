"""What the Evaluator counts of itself."""

from evaluator.verdict.decision import Action
from services.common.telemetry import operations
from services.common.telemetry.store import MetricStore


class Meters:
    """The Evaluator's own series.

    Args:
        store: where they are kept.
    """

    def __init__(self, store: MetricStore) -> None:
        self._store = store
        for action in Action:
            if action is not Action.NONE:
                # From 0 on, so that the first rollback is an increase.
                store.counter(operations.DECISION_COUNT, action.value)

    def looked(self, outcome: str, seconds: float) -> None:
        """Counts a look that came to an end."""
        self._store.histogram(operations.LOOK_DURATION, outcome).record(seconds)

    def decided(self, action: str) -> None:
        """Counts a decision that was carried out."""
        self._store.counter(operations.DECISION_COUNT, action).add()

    def watched(self, rollouts: int, contact_age: float) -> None:
        """Says how many rollouts are looked at, and for how many seconds the Registry was not heard."""
        self._store.gauge(operations.ROLLOUTS_WATCHED).set(rollouts)
        self._store.gauge(operations.CONTACT_AGE).set(contact_age)
