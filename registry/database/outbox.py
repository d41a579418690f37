"""Events that webhooks have yet to be told of."""

from collections.abc import Iterable, Sequence

from sqlalchemy import Row, delete, func, insert, literal, select, tuple_, update

from registry import converters, views
from registry.database.session import Session
from registry.database.tables import outbox
from registry.domain.ledger import Event
from registry.domain.webhooks import Delivery, Webhook


class SqlOutbox:
    """The table outbox.

    Args:
        session: the transaction's.
        webhooks: who is told of what from now on.
    """

    def __init__(self, session: Session, webhooks: Sequence[Webhook]) -> None:
        self._session = session
        self._webhooks = webhooks

    def add(self, events: Iterable[Event]) -> None:
        """Keeps what has happened for the webhooks that want it."""
        rows = []
        for event in events:
            wanted = [webhook.name for webhook in self._webhooks if webhook.wants(event)]
            # The same for all of them, and not made where nobody wants it.
            payload = converters.pack(views.event_to_proto(event)) if wanted else b""
            rows += [
                {
                    "model": event.model,
                    "sequence": event.sequence,
                    "webhook": name,
                    "event": payload,
                    "created": event.time,
                    "attempts": 0,
                    "due": event.time,
                    "error": "",
                }
                for name in wanted
            ]
        if rows:
            self._session.execute(insert(outbox), rows)

    def claim(self, webhook: str, now: float, until: float, limit: int) -> list[Delivery]:
        """Takes what is due, the oldest first; nobody else gets it until then. Each has one attempt more.

        Nothing while an earlier attempt has its pause, or is under way somewhere: a receiver that does not answer is
        asked once in a while and not for each event, and gets them in their order.
        """
        pausing = select(outbox.c.model).where(outbox.c.webhook == webhook, outbox.c.due > now, outbox.c.attempts > 0)
        if self._session.execute(pausing.limit(1)).first() is not None:
            return []
        key = (outbox.c.model, outbox.c.sequence, outbox.c.webhook)
        due = (
            select(*key)
            .where(outbox.c.webhook == webhook, outbox.c.due <= now)
            .order_by(outbox.c.created, outbox.c.model, outbox.c.sequence)
            .limit(limit)
        )
        statement = (
            update(outbox)
            .where(tuple_(*key).in_(due))
            .values(due=until, attempts=outbox.c.attempts + 1)
            .returning(outbox)
        )
        found = [_delivery(row) for row in self._session.execute(statement)]
        return sorted(found, key=lambda one: (one.created, one.model, one.sequence))

    def remove(self, delivery: Delivery) -> None:
        """Forgets what was delivered."""
        self._session.execute(
            delete(outbox).where(
                outbox.c.model == delivery.model,
                outbox.c.sequence == delivery.sequence,
                outbox.c.webhook == delivery.webhook,
            )
        )

    def postpone(self, deliveries: Sequence[Delivery], due: float, error: str) -> None:
        """Notes that the first of these was not taken; it, and the others behind it, are tried (again) then."""
        keys = [tuple_(literal(one.model), literal(one.sequence), literal(one.webhook)) for one in deliveries]
        key = tuple_(outbox.c.model, outbox.c.sequence, outbox.c.webhook)
        self._session.execute(update(outbox).where(key.in_(keys[:1])).values(due=due, error=error))
        if keys[1:]:
            untried = update(outbox).where(key.in_(keys[1:]))
            self._session.execute(untried.values(due=due, attempts=outbox.c.attempts - 1))

    def purge(self, before: float) -> int:
        """Forgets what nobody took since before a moment; answers how much."""
        return self._session.execute(delete(outbox).where(outbox.c.created < before)).rowcount

    def undelivered(self) -> dict[str, int]:
        """How much each webhook has yet to be told."""
        query = select(outbox.c.webhook, func.count()).group_by(outbox.c.webhook).order_by(outbox.c.webhook)
        return {row[0]: row[1] for row in self._session.execute(query)}

    def oldest(self, webhook: str, limit: int) -> list[Delivery]:
        """What a webhook has yet to be told, the oldest first."""
        query = select(outbox).where(outbox.c.webhook == webhook).order_by(outbox.c.created, outbox.c.sequence)
        return [_delivery(row) for row in self._session.execute(query.limit(limit))]


def _delivery(row: Row[tuple[object, ...]]) -> Delivery:
    return Delivery(
        row.model, row.sequence, row.webhook, bytes(row.event), row.created, row.attempts, row.due, row.error
    )
