"""What the Worker's supervisor counts of the versions that it runs."""

from collections.abc import Iterable

from services.common.telemetry import operations
from services.common.telemetry.store import MetricStore, Snapshot
from services.worker.domain import ServingKey


class Meters:
    """The supervisor's own series. A version's begin at 0 when it is wanted, so that its first crash is an increase."""

    def __init__(self) -> None:
        self._store = MetricStore()

    def begun(self, key: ServingKey) -> None:
        """It is wanted from now on."""
        for metric in (operations.CRASH_COUNT, operations.LOAD_FAILURE_COUNT):
            self._store.counter(metric, *_arm(key))

    def crashed(self, key: ServingKey) -> None:
        """Its process ended without having been asked to."""
        self._store.counter(operations.CRASH_COUNT, *_arm(key)).add()

    def failed(self, key: ServingKey) -> None:
        """It was given up."""
        self._store.counter(operations.LOAD_FAILURE_COUNT, *_arm(key)).add()

    def snapshot(self, wanted: Iterable[ServingKey], ready: Iterable[ServingKey]) -> list[Snapshot]:
        """Every series.

        Args:
            wanted: what is to be ready; series of versions that are not wanted any more are dropped.
            ready: what is.
        """
        arms = {_arm(key) for key in wanted}
        held = {_arm(key) for key in ready}
        self._store.drop(lambda _, attributes: tuple(attributes.values()) not in arms)
        for arm in arms:
            self._store.gauge(operations.VERSION_READY, *arm).set(float(arm in held))
        return self._store.snapshot()


def _arm(key: ServingKey) -> tuple[str, str, str]:
    return key.model, key.version, key.traffic.value
