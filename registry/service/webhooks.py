"""What webhooks have yet to be told."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from registry.domain.webhooks import Delivery, Webhook
from registry.ports import Transaction, UnitOfWork

_SHOWN: Final = 20
COUNTED: Final = 1_000
"""So many undelivered events are counted at most, for each webhook."""


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
            return [
                WebhookView(
                    name,
                    self._webhooks.get(name),
                    counts.get(name, 0),
                    tuple(tx.outbox.oldest(name, _SHOWN)) if name in counts else (),
                )
                for name in sorted({*self._webhooks, *counts})
            ]

        return self._unit_of_work.run(read, deadline=deadline, read_only=True)
