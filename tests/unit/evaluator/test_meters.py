"""What the Evaluator counts of itself."""

from evaluator.meters import Meters
from evaluator.verdict.decision import Action
from services.common.telemetry import operations
from services.common.telemetry.store import MetricStore


def test_every_decision_is_counted_from_zero() -> None:
    """Else Prometheus's `increase` would not see the first rollback of a process."""
    store = MetricStore()
    meters = Meters(store)

    def counts() -> dict[str, int]:
        return {one.attributes[0]: one.counts[0] for one in store.snapshot() if one.metric is operations.DECISION_COUNT}

    assert counts() == {action.value: 0 for action in Action if action}
    meters.decided("rollback")
    assert counts()["rollback"] == 1
