"""What webhooks have yet to be told."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from registry.domain.webhooks import TURN_SECONDS, Delivery, Webhook
from registry.ports import Transaction, UnitOfWork
from services.common.errors import NotFoundError

_SHOWN: Final = 20
COUNTED: Final = 1_000
"""So many undelivered events are counted at most, for each webhook."""
_BATCH: Final = 500
_BATCHES: Final = 20


@dataclass(frozen=True, slots=True)
class WebhookView:
    """A webhook and what it has yet to be told.

    Attributes:
        webhook: None: the settings name none of this name (any more).
        undelivered: how many events; COUNTED: that many or more.
        oldest: the oldest of them.
    """

    name: str
    webhook: Webhook | None
    undelivered: int
    oldest: tuple[Delivery, ...]


@dataclass(frozen=True, slots=True)
class Dropped:
    """How many events were forgotten, and whether there are more of them."""

    events: int
    more: bool


class WebhookService:
    """Webhooks.

    Args:
        unit_of_work: runs the transactions.
        webhooks: those of the settings.
    """

    def __init__(self, unit_of_work: UnitOfWork, webhooks: Iterable[Webhook]) -> None:
        self._unit_of_work = unit_of_work
        self._webhooks = {webhook.name: webhook for webhook in webhooks}

    def all(self, *, deadline: float) -> list[WebhookView]:
        """Every webhook, by name."""

        def read(tx: Transaction) -> list[WebhookView]:
            counts = tx.outbox.undelivered(COUNTED)
            return [self._view(tx, name, counts) for name in sorted({*self._webhooks, *counts})]

        return self._unit_of_work.run(read, deadline=deadline, read_only=True)

    def retry(self, name: str, *, deadline: float) -> WebhookView:
        """Ends a webhook's pause, and those of all that it has yet to be told.

        Raises:
            NotFoundError: WEBHOOK_NOT_FOUND, the settings name none of this name, so that nobody would be told.
        """
        if name not in self._webhooks:
            raise _unknown(name, "the settings name", self._webhooks)

        def hurry(tx: Transaction) -> WebhookView:
            tx.outbox.hurry(name, TURN_SECONDS)
            return self._view(tx, name, tx.outbox.undelivered(COUNTED))

        return self._unit_of_work.run(hurry, deadline=deadline)

    def drop(self, name: str, model: str, before: float | None, *, deadline: float) -> Dropped:
        """Forgets what a webhook has yet to be told, in several transactions.

        Args:
            name: the webhook's.
            model: only its events; empty: those of all.
            before: only what happened before this moment, seconds since 1970.
            deadline: on the clock's monotonic scale.

        Raises:
            NotFoundError: WEBHOOK_NOT_FOUND.
        """
        if name not in self._webhooks:
            waiting = self._unit_of_work.run(lambda tx: tx.outbox.undelivered(1), deadline=deadline, read_only=True)
            if name not in waiting:
                raise _unknown(name, "there are", {*self._webhooks, *waiting})
        gone = 0
        for _ in range(_BATCHES):
            # One transaction each: what happens meanwhile is to wait for none of them.
            batch = self._unit_of_work.run(lambda tx: tx.outbox.drop(name, model, before, _BATCH), deadline=deadline)
            gone += batch
            if batch < _BATCH:
                return Dropped(gone, more=False)
        return Dropped(gone, more=True)

    def _view(self, tx: Transaction, name: str, counts: Mapping[str, int]) -> WebhookView:
        oldest = tuple(tx.outbox.oldest(name, _SHOWN)) if name in counts else ()
        return WebhookView(name, self._webhooks.get(name), counts.get(name, 0), oldest)


def _unknown(name: str, which: str, known: Iterable[str]) -> NotFoundError:
    others = ", ".join(sorted(known)) or "none; the Registry's CROSSFADE_WEBHOOKS names the file that lists them"
    return NotFoundError("WEBHOOK_NOT_FOUND", f"there is no webhook {name}; {which}: {others}")
