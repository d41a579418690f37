"""What the Registry counts of itself."""

import asyncio
from typing import Final

from services.common.telemetry.catalog import CALL_BOUNDS, Kind, Metric
from services.common.telemetry.store import MetricStore

TRANSACTION_DURATION: Final = Metric(
    "crossfade.registry.transaction.duration",
    Kind.HISTOGRAM,
    "s",
    "Time of one transaction with all its attempts, by how it ended: ok, or the reason.",
    ("outcome",),
    CALL_BOUNDS,
)
RETRY_COUNT: Final = Metric(
    "crossfade.registry.retry.count",
    Kind.COUNTER,
    "1",
    "Attempts of transactions that had to be made again.",
    (),
)
WATCHERS: Final = Metric("crossfade.registry.watchers", Kind.GAUGE, "1", "Routes that are being watched.", ())
REVISION: Final = Metric("crossfade.registry.revision", Kind.GAUGE, "1", "The routes' latest known revision.", ())


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
        self._store.histogram(TRANSACTION_DURATION, outcome).record(seconds)
        if attempts > 1:
            self._store.counter(RETRY_COUNT).add(attempts - 1)

    def watching(self, watchers: int, revision: int) -> None:
        """Says how many watches there are, and where the routes stand."""
        self._store.gauge(WATCHERS).set(watchers)
        self._store.gauge(REVISION).set(revision)
