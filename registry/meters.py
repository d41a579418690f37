"""What the Registry counts of itself."""

import asyncio
from collections.abc import Mapping

from services.common.telemetry import operations
from services.common.telemetry.store import MetricStore


class Meters:
    """The Registry's own series. The event loop's thread writes them; transactions run on others.

    Args:
        store: where they are kept.
    """

    def __init__(self, store: MetricStore) -> None:
        self._store = store
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self) -> None:
        """Counts on the running loop from now on."""
        self._loop = asyncio.get_running_loop()

    def transaction(self, outcome: str, seconds: float, attempts: int) -> None:
        """Counts a transaction, from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._count, outcome, seconds, attempts)

    def _count(self, outcome: str, seconds: float, attempts: int) -> None:
        self._store.histogram(operations.TRANSACTION_DURATION, outcome).record(seconds)
        if attempts > 1:
            self._store.counter(operations.RETRY_COUNT).add(attempts - 1)

    def undelivered(self, events: Mapping[str, int]) -> None:
        """Says how many events each webhook has yet to be told of."""
        self._store.drop(lambda metric, _: metric is operations.UNDELIVERED)
        for webhook, count in events.items():
            self._store.gauge(operations.UNDELIVERED, webhook).set(count)

    def watching(self, watchers: int, revision: int) -> None:
        """Says how many watches there are, and where the routes stand."""
        self._store.gauge(operations.WATCHERS).set(watchers)
        self._store.gauge(operations.REVISION).set(revision)
