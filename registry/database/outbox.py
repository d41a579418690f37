"""Events that webhooks have yet to be told of."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Integer,
    Row,
    Text,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    text,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from registry import converters, views
from registry.database.columns import Moment, at, given
from registry.database.oldest import remove_oldest
from registry.database.session import Session
from registry.database.tables import ASIDE, IN_TURN, models, outbox, receivers
from registry.domain.ledger import Event
from registry.domain.webhooks import LONGEST_REFUSED_SECONDS, LONGEST_SECONDS, Delivery, Turn, Webhook

_DUE: Final = (
    select(outbox)
    .where(given(outbox.c.webhook), outbox.c.due <= func.now())
    .order_by(outbox.c.due, outbox.c.model, outbox.c.sequence)
    .limit(1)
)
# Conditions of indexes are numbers and no parameters, which no plan could hold against them.
# For each model by itself: one index tells its first event, however many wait behind it or were refused before it.
_HEADS: Final = (
    select(outbox.c.sequence)
    .where(given(outbox.c.webhook), outbox.c.model == models.c.model, text(IN_TURN))
    .order_by(outbox.c.sequence)
    .limit(1)
    .lateral("heads")
)
_FIRST: Final = select(models.c.model, _HEADS.c.sequence).select_from(models.join(_HEADS, true())).subquery("first")
_DUE_HEAD: Final = _DUE.join(_FIRST, (_FIRST.c.model == outbox.c.model) & (_FIRST.c.sequence == outbox.c.sequence))
_DUE_ASIDE: Final = _DUE.where(text(ASIDE))
# Most of the time nothing waits, and then no model is asked for its first event. One event is looked for before it is
# asked whether the webhook has its pause: CockroachDB holds the pause against each event that it reads.
_ONE: Final = select(outbox.c.sequence).where(given(outbox.c.webhook)).limit(1).subquery("one")
_WAITS: Final = select(_ONE.c.sequence).where(~exists().where(given(receivers.c.webhook), receivers.c.due > func.now()))
_NEXT_WEBHOOK: Final = (
    select(outbox.c.webhook)
    .where(outbox.c.webhook > bindparam("after", type_=Text))
    .order_by(outbox.c.webhook)
    .limit(1)
)
_FEW: Final = select(outbox.c.sequence).where(given(outbox.c.webhook)).limit(bindparam("limit", type_=Integer))
_HOW_MANY: Final = select(func.count()).select_from(_FEW.subquery())


class SqlOutbox:
    """The tables outbox and receivers.

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
                    "error": "",
                    "refused": 0,
                }
                for name in wanted
            ]
        if rows:
            self._session.execute(insert(outbox).values(due=func.now()), rows)

    def take_turn(self, webhook: str, seconds: float) -> Turn | None:
        """Takes a webhook's turn for so long, and what it is to be told next.

        An event is told after the earlier ones of its model, but for those that were refused too often; and these are
        tried when there is nothing else. Between models the one goes first that is due for longest, so that a receiver
        that comes back to life is not asked by the same event every time.

        Returns:
            None: nothing is due, somebody else has the turn, or the webhook has its pause.
        """
        whose = at(webhook=webhook)
        if self._session.execute(_WAITS, whose).first() is None:
            return None
        found = self._session.execute(_DUE_HEAD, whose).first() or self._session.execute(_DUE_ASIDE, whose).first()
        if found is None:
            return None
        until = _after(seconds)
        statement = (
            upsert(receivers)
            .values(webhook=webhook, due=until, failures=0)
            .on_conflict_do_update(
                index_elements=[receivers.c.webhook], set_={"due": until}, where=receivers.c.due <= func.now()
            )
            .returning(receivers.c.due, receivers.c.failures)
        )
        turn = self._session.execute(statement).one_or_none()
        return None if turn is None else Turn(_delivery(found), turn.failures, turn.due)

    def end_turn(self, turn: Turn, *, failures: int = 0, pause: float = 0.0) -> None:
        """Gives a turn back: nobody takes it for so many seconds. One that has ended by itself is somebody else's."""
        mine = (receivers.c.webhook == turn.delivery.webhook) & (receivers.c.due == turn.until)
        self._session.execute(update(receivers).where(mine).values(due=_after(pause), failures=failures))

    def remove(self, delivery: Delivery) -> None:
        """Forgets what was delivered."""
        self._session.execute(delete(outbox).where(_is(delivery)))

    def postpone(self, delivery: Delivery, seconds: float) -> None:
        """Notes how an attempt went; the next one is after so many seconds."""
        noted = {"attempts": delivery.attempts, "refused": delivery.refused, "error": delivery.error}
        self._session.execute(update(outbox).where(_is(delivery)).values(due=_after(seconds), **noted))

    def hurry(self, webhook: str, seconds: float) -> None:
        """Lets all that a webhook has yet to be told be due, and its pause end after so many seconds at the latest.

        Args:
            webhook: its name.
            seconds: no less than a turn: nobody else takes one that has begun.
        """
        self._let_be_due(webhook, func.now(), func.now())
        sooner = func.least(receivers.c.due, _after(seconds), type_=Moment())
        self._session.execute(update(receivers).where(receivers.c.webhook == webhook).values(due=sooner, failures=0))

    def recall(self, webhook: str) -> None:
        """Lets be due what waits for longer than any pause lasts: it was put off by a clock that was ahead."""
        self._let_be_due(webhook, _after(LONGEST_SECONDS), _after(LONGEST_REFUSED_SECONDS))
        ahead = (receivers.c.webhook == webhook) & (receivers.c.due > _after(LONGEST_SECONDS))
        self._session.execute(update(receivers).where(ahead).values(due=func.now()))

    def _let_be_due(self, webhook: str, in_turn: ColumnElement[Any], aside: ColumnElement[Any]) -> None:
        """What waits until later than these moments, in its turn or aside, is due from now on."""
        # Not all at one moment: what is due next is found by an index, and of thousands due at once it tells none.
        since = func.least(outbox.c.created, func.now(), type_=Moment())
        # Of what waits in turn, nothing but the first event of each model was ever tried.
        first = tuple_(outbox.c.model, outbox.c.sequence).in_(select(_FIRST.c.model, _FIRST.c.sequence))
        for some, moment in ((first, in_turn), (text(ASIDE), aside)):
            late = (outbox.c.webhook == webhook) & (outbox.c.due > moment)
            self._session.execute(update(outbox).where(late, some).values(due=since), at(webhook=webhook))

    def drop(self, webhook: str, model: str, before: float | None, limit: int) -> int:
        """Forgets what a webhook has yet to be told, the oldest first, at most `limit` of it; answers how much.

        Args:
            webhook: its name.
            model: only of this one; empty: of all.
            before: only what happened before this moment, seconds since 1970.
            limit: at most so many events.
        """
        which = [outbox.c.webhook == webhook]
        which += [outbox.c.model == model] if model else []
        which += [outbox.c.created < before] if before is not None else []
        return self._remove_oldest(and_(*which), limit)

    def purge(self, before: float, limit: int) -> int:
        """Forgets what nobody took since before a moment, at most `limit` of it; answers how much."""
        return self._remove_oldest(outbox.c.created < before, limit)

    def undelivered(self, limit: int) -> dict[str, int]:
        """How much each webhook has yet to be told, if anything; counted up to `limit`, for it may be millions."""
        found: dict[str, int] = {}
        name: str | None = ""
        # From one name to the next: to group the rows by them is to read them all.
        while (name := self._session.execute(_NEXT_WEBHOOK, {"after": name}).scalar()) is not None:
            found[name] = self._session.execute(_HOW_MANY, at(webhook=name) | {"limit": limit}).scalar_one()
        return found

    def oldest(self, webhook: str, limit: int) -> list[Delivery]:
        """What a webhook has yet to be told, the oldest first; nothing is due before the webhook's pause is over."""
        due = func.greatest(outbox.c.due, receivers.c.due, type_=Moment()).label("due")
        query = (
            select(*(column for column in outbox.c if column is not outbox.c.due), due)
            .select_from(outbox.outerjoin(receivers, receivers.c.webhook == outbox.c.webhook))
            .where(outbox.c.webhook == webhook)
            .order_by(outbox.c.created, outbox.c.model, outbox.c.sequence)
        )
        return [_delivery(row) for row in self._session.execute(query.limit(limit))]

    def _remove_oldest(self, which: ColumnElement[bool], limit: int) -> int:
        created = outbox.c.created
        times = self._session.execute(select(created).where(which).order_by(created).limit(limit)).scalars().all()
        return len(remove_oldest(self._session, created, times, which, (outbox.c.sequence,)))


def _after(seconds: float) -> ColumnElement[Any]:
    """By the database's clock, since those of replicas may be minutes apart."""
    return func.now() + literal(timedelta(seconds=seconds))


def _is(delivery: Delivery) -> ColumnElement[bool]:
    return and_(
        outbox.c.model == delivery.model,
        outbox.c.sequence == delivery.sequence,
        outbox.c.webhook == delivery.webhook,
    )


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        row.model,
        row.sequence,
        row.webhook,
        bytes(row.event),
        row.created,
        row.attempts,
        row.refused,
        row.due,
        row.error,
    )
