"""What a webhook is told next: in order within a model, one at a time, by the database's clock alone."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.engine import Engine
from sqlalchemy.event import listen, remove

from registry.database.engine import open_engine, parse_url
from registry.database.transaction import SqlTransaction
from registry.database.unit_of_work import SqlUnitOfWork
from registry.domain.ledger import Event, EventDraft
from registry.domain.records import Model
from registry.domain.webhooks import DEFAULT_TYPES, REFUSALS, Delivery, Form, Turn, Webhook
from registry.ports import Transaction
from services.common.clock import SystemClock

HOUR = 3600.0
HOOK = Webhook("hook", "https://receiver.example", Form.CLOUDEVENTS, b"", frozenset(), DEFAULT_TYPES)
Run = Callable[[Callable[[Transaction], Any]], Any]


@pytest.fixture
def run(database: str) -> Iterator[Run]:
    """Runs transactions of a replica."""
    engine = open_engine(parse_url(database), 2)
    unit = SqlUnitOfWork(engine, SystemClock(), lambda _: None, webhooks=[HOOK])
    yield lambda work: unit.run(work, deadline=float("inf"))
    engine.dispose()


def add(run: Run, *events: tuple[str, int], clock: float = 0.0) -> None:
    """Something has happened, by the clock of a replica that is so many seconds ahead."""
    now = SystemClock.now() + clock
    made = [Event(model, number, EventDraft("LANE_UNDONE"), now, "", 1, "", "") for model, number in events]

    def note(tx: Transaction) -> None:
        for model in {event.model for event in made}:
            if tx.catalog.model(model) is None:
                tx.catalog.add_model(Model(model, "", now, 1, 1, 0, "", ""))
        tx.outbox.add(made)

    run(note)


def take(run: Run, seconds: float = HOUR) -> Turn:
    """Takes the turn, which has to be free."""
    turn: Turn | None = run(lambda tx: tx.outbox.take_turn("hook", seconds))
    assert turn is not None
    return turn


def none_to_take(run: Run) -> bool:
    return run(lambda tx: tx.outbox.take_turn("hook", HOUR)) is None


def key(turn: Turn) -> tuple[str, int]:
    return turn.delivery.model, turn.delivery.sequence


def deliver(run: Run) -> tuple[str, int]:
    """Tells what is next."""
    turn = take(run)
    run(lambda tx: tx.outbox.remove(turn.delivery))
    run(lambda tx: tx.outbox.end_turn(turn))
    return key(turn)


def fail(run: Run, turn: Turn, pause: float) -> None:
    """The receiver did not answer; the webhook has its pause."""
    failed = turn.delivery.failed("no connection")

    def note(tx: Transaction) -> None:
        tx.outbox.postpone(failed, 0.0)
        tx.outbox.end_turn(turn, failures=turn.failures + 1, pause=pause)

    run(note)


def refuse(run: Run, times: int, seconds: float) -> tuple[str, int]:
    """What is next is refused for the so manieth time, and postponed for so long."""
    turn = take(run)
    noted = replace(turn.delivery, refused=times)
    run(lambda tx: tx.outbox.postpone(noted, seconds))
    run(lambda tx: tx.outbox.end_turn(turn))
    return key(turn)


def listed(run: Run) -> list[Delivery]:
    """What is left."""
    left: list[Delivery] = run(lambda tx: tx.outbox.oldest("hook", 9))
    return left


def test_the_order_is_the_ledgers_whatever_the_clocks_of_replicas(run: Run) -> None:
    add(run, ("m", 1), clock=5 * 60)
    add(run, ("m", 2), clock=-5 * 60)
    add(run, ("m", 3))
    assert [deliver(run) for _ in range(3)] == [("m", 1), ("m", 2), ("m", 3)]
    assert none_to_take(run)


def test_what_is_due_when_is_of_the_databases_clock_alone(run: Run) -> None:
    add(run, ("m", 1))

    def dues(tx: Transaction) -> list[float]:
        """How long after the transaction's own moment, which no other clock can name."""
        assert isinstance(tx, SqlTransaction)
        now = tx._session.execute(select(func.now())).scalar_one().timestamp()
        turn = tx.outbox.take_turn("hook", HOUR)
        assert turn is not None
        tx.outbox.postpone(turn.delivery, 2 * HOUR)
        (postponed,) = tx.outbox.oldest("hook", 9)
        tx.outbox.end_turn(turn, pause=3 * HOUR)
        (paused,) = tx.outbox.oldest("hook", 9)
        return [due - now for due in (turn.until, postponed.due, paused.due)]

    assert run(dues) == pytest.approx([HOUR, 2 * HOUR, 3 * HOUR], abs=2e-6)


YEARS = 315_360_000.0


def test_what_was_put_off_by_a_clock_that_was_years_ahead_is_due_again(run: Run) -> None:
    add(run, ("m", 1), ("n", 1))
    assert refuse(run, REFUSALS, YEARS) == ("m", 1)
    fail(run, take(run), YEARS)
    assert none_to_take(run)
    run(lambda tx: tx.outbox.recall("hook"))
    assert sorted(deliver(run) for _ in range(2)) == [("m", 1), ("n", 1)]


def test_a_pause_that_may_be_is_left(run: Run) -> None:
    add(run, ("m", 1), ("n", 1))
    assert refuse(run, REFUSALS, 23 * HOUR) == ("m", 1)
    fail(run, take(run), 0.9 * HOUR)
    run(lambda tx: tx.outbox.recall("hook"))
    assert none_to_take(run)
    assert sum(one.due > SystemClock.now() + 0.8 * HOUR for one in listed(run)) == 2


def test_a_turn_is_one_replicas_until_it_ends(run: Run) -> None:
    add(run, ("m", 1), ("n", 1))
    first = take(run)
    assert none_to_take(run)
    run(lambda tx: tx.outbox.end_turn(first))
    late = take(run, seconds=0.0)
    # It stood still for too long, and another has the turn.
    other = take(run)
    assert key(late) == key(other)
    run(lambda tx: tx.outbox.end_turn(late))
    assert none_to_take(run)
    run(lambda tx: tx.outbox.end_turn(other))
    assert not none_to_take(run)


def test_what_is_noted_may_be_noted_again(run: Run) -> None:
    """As it is when the answer to COMMIT was lost."""
    add(run, ("m", 1))
    turn = take(run)
    for _ in range(2):
        fail(run, turn, 0.0)
    again = take(run)
    assert (again.failures, again.delivery.attempts, again.delivery.refused) == (1, 1, 0)
    assert again.delivery.error == "no connection"


def test_a_receiver_that_does_not_answer_is_left_alone_and_then_asked_by_another_event(run: Run) -> None:
    add(run, ("m", 1), ("m", 2), ("n", 1), ("o", 1))
    turn = take(run)
    assert key(turn) == ("m", 1)
    fail(run, turn, HOUR)
    assert none_to_take(run)
    paused = replace(turn, until=listed(run)[0].due)
    assert paused.until > SystemClock.now() + HOUR / 2
    # The pause is over.
    run(lambda tx: tx.outbox.end_turn(paused, failures=1))
    assert [deliver(run) for _ in range(4)] == [("n", 1), ("o", 1), ("m", 1), ("m", 2)]


def test_an_event_that_is_refused_holds_up_its_own_model_alone_and_not_for_ever(run: Run) -> None:
    add(run, ("m", 1), ("m", 2), ("n", 1), ("n", 2))
    assert refuse(run, 1, HOUR) == ("m", 1)
    assert [deliver(run) for _ in range(2)] == [("n", 1), ("n", 2)]
    assert none_to_take(run)
    (held,) = [one for one in listed(run) if one.refused]
    run(lambda tx: tx.outbox.postpone(held, 0.0))
    assert refuse(run, REFUSALS, HOUR) == ("m", 1)
    assert deliver(run) == ("m", 2)
    add(run, ("m", 3))
    assert deliver(run) == ("m", 3)
    assert none_to_take(run)
    assert [(one.model, one.sequence, one.refused) for one in listed(run)] == [("m", 1, REFUSALS)]


def test_what_was_refused_too_often_is_tried_when_there_is_nothing_else(run: Run) -> None:
    add(run, ("m", 1), ("m", 2))
    assert refuse(run, REFUSALS, 0.0) == ("m", 1)
    add(run, ("n", 1))
    assert [deliver(run) for _ in range(3)] == [("m", 2), ("n", 1), ("m", 1)]


def test_no_model_is_asked_for_its_first_event_while_nothing_waits_or_the_webhook_has_its_pause(run: Run) -> None:
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if "FROM models" in statement:
            asked.append(statement)

    listen(Engine, "before_cursor_execute", note)
    try:
        assert none_to_take(run)
        add(run, ("m", 1))
        asked.clear()
        turn = take(run)
        assert len(asked) == 1
        fail(run, turn, HOUR)
        asked.clear()
        assert none_to_take(run)
    finally:
        remove(Engine, "before_cursor_execute", note)
    assert asked == []
