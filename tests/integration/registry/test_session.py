"""What a transaction only writes goes to the database at once, and what does not hold of it is told apart."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, event, select
from sqlalchemy.exc import IntegrityError

from registry.database.engine import open_engine, parse_url
from registry.database.session import Session
from registry.database.tables import lane_routes, requests
from registry.database.transaction import SqlTransaction
from registry.domain.lane import empty_lane
from registry.domain.monitors import Monitor
from registry.domain.records import Model, Rollout
from registry.domain.states import RolloutState
from registry.ports import DoneBefore, Stale
from tests.support.cockroach import refused_by_cockroach
from tests.unit.registry.lanes import START, spec

ROUTES = {"model": "m", "segment": "", "payload": b"one"}
KEY = {"principal": "ana", "rpc": "Do", "request_id": "1"}
ANSWER = {**KEY, "digest": "d", "answer": b"done", "created": 1.0}
MODEL = Model("m", "", START, 2, 2, 3, "", "e0")
LANE = replace(empty_lane("m", "", "e0"), epoch=3)
ROLLOUT = Rollout("m", 1, "", "v2", "v1", RolloutState.RUNNING, spec(500), START, "local:ana", "", "e0")
MONITOR = Monitor("m", "", sequence=3)


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    """In a transaction, without effects."""
    engine = open_engine(parse_url(database), 1)
    with engine.connect() as opened:
        yield opened
        opened.rollback()
    engine.dispose()


@pytest.fixture
def statements(connection: Connection) -> list[str]:
    """What is sent."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        sent.append(statement)

    event.listen(connection.engine, "before_cursor_execute", note)
    return sent


def payload(session: Session) -> bytes:
    """Of the routes."""
    return bytes(session.execute(select(lane_routes.c.payload).where(lane_routes.c.model == "m")).scalar_one())


def change(session: Session, seen: bytes, after: bytes) -> None:
    """Compares and sets the routes' payload."""
    key = {"model": "m", "segment": "", "payload": seen}
    session.change(lane_routes, key, {"payload": seen}, {"payload": after}, "the routes of m")


def test_several_tables_are_written_by_one_statement(connection: Connection, statements: list[str]) -> None:
    session = Session(connection)
    session.add(lane_routes, ROUTES)
    session.add(requests, ANSWER, once=True)
    assert statements == []
    session.flush()
    session.flush()
    assert len(statements) == 1
    assert payload(session) == b"one"


def test_each_part_of_the_statement_gives_columns_and_has_a_table_of_its_own(
    connection: Connection, statements: list[str]
) -> None:
    """CockroachDB refuses others: "WITH clause "w0" does not return any columns", "multiple mutations of …"."""
    session = Session(connection)
    session.add(lane_routes, ROUTES)
    session.add(requests, ANSWER)
    session.flush()
    change(session, b"one", b"two")
    session.add(requests, {**ANSWER, "request_id": "2"}, once=True)
    session.flush()
    assert len(statements) == 2
    for statement in statements:
        assert refused_by_cockroach(statement) == ""


def test_what_is_asked_sees_what_was_written_before(connection: Connection) -> None:
    session = Session(connection)
    session.add(lane_routes, ROUTES)
    assert payload(session) == b"one"
    change(session, b"one", b"two")
    assert payload(session) == b"two"


def test_a_table_that_is_written_twice_is_written_in_order(connection: Connection, statements: list[str]) -> None:
    session = Session(connection)
    session.add(lane_routes, ROUTES)
    change(session, b"one", b"two")
    change(session, b"two", b"three")
    session.flush()
    assert len(statements) == 3
    assert payload(session) == b"three"


def test_only_what_differs_is_written(connection: Connection, statements: list[str]) -> None:
    session = Session(connection)
    session.add(requests, ANSWER)
    session.flush()
    session.change(requests, KEY, ANSWER, {**ANSWER, "answer": b"other"}, "the answer")
    session.flush()
    assert "SET answer=" in statements[1]
    assert "digest" not in statements[1]
    session.change(requests, KEY, ANSWER, ANSWER, "the answer")
    session.flush()
    assert len(statements) == 2


def test_the_row_that_has_changed_is_named(connection: Connection) -> None:
    session = Session(connection)
    session.add(lane_routes, ROUTES)
    session.add(requests, ANSWER)
    session.flush()
    session.change(requests, KEY, {"answer": b"done"}, {"answer": b"other"}, "the answer")
    change(session, b"another", b"two")
    with pytest.raises(Stale, match=r"^the routes of m$"):
        session.flush()


def test_what_is_to_be_done_once_is_told_from_any_other_row_that_is_there(connection: Connection) -> None:
    session = Session(connection)
    session.add(requests, ANSWER, once=True)
    session.flush()
    session.add(lane_routes, ROUTES)
    session.add(requests, ANSWER, once=True)
    with pytest.raises(DoneBefore), connection.begin_nested():
        session.flush()
    session.add(lane_routes, ROUTES)
    session.flush()
    session.add(lane_routes, ROUTES)
    session.add(requests, {**ANSWER, "request_id": "2"}, once=True)
    with pytest.raises(IntegrityError):
        session.flush()


@pytest.fixture
def transaction(connection: Connection) -> SqlTransaction:
    """In which a model, its lane, its rollout and its monitor were written."""
    made = SqlTransaction(connection, ())
    made.catalog.add_model(MODEL)
    made.lanes.add_lane(LANE)
    made.lanes.add_rollout(ROLLOUT)
    assert made.monitors.save(MONITOR, None)
    return made


@pytest.mark.parametrize("seen", [{"event_sequence": 2}, {"etag": "e1"}])
def test_a_model_that_has_changed_since_it_was_read_is_left_alone(
    transaction: SqlTransaction, seen: dict[str, Any]
) -> None:
    transaction.catalog.save_model(replace(MODEL, description="new", etag="e2"), replace(MODEL, **seen))
    with pytest.raises(Stale, match=r"^m$"):
        transaction.flush()
    assert transaction.catalog.model("m") == MODEL


@pytest.mark.parametrize("seen", [{"epoch": 2}, {"etag": "e1"}])
def test_a_lane_that_has_changed_since_it_was_read_is_left_alone(
    transaction: SqlTransaction, seen: dict[str, Any]
) -> None:
    transaction.lanes.save_lane(replace(LANE, stable_version="v1", etag="e2"), replace(LANE, **seen))
    with pytest.raises(Stale, match=r"^m$"):
        transaction.flush()
    assert transaction.lanes.lane("m", "") == LANE


def test_a_rollout_that_has_changed_since_it_was_read_is_left_alone(transaction: SqlTransaction) -> None:
    transaction.lanes.save_rollout(replace(ROLLOUT, note="new", etag="e2"), replace(ROLLOUT, etag="e1"))
    with pytest.raises(Stale, match=r"^rollout 1 \(v2\)$"):
        transaction.flush()
    assert transaction.lanes.rollout("m", 1) == ROLLOUT


@pytest.mark.parametrize("seen", [None, replace(MONITOR, sequence=2)])
def test_a_monitor_that_has_looked_since_it_was_read_is_left_alone(
    transaction: SqlTransaction, seen: Monitor | None
) -> None:
    assert not transaction.monitors.save(replace(MONITOR, version="v1", sequence=4), seen)
    assert transaction.monitors.find("m", "") == MONITOR


def test_what_is_as_it_was_read_is_changed(transaction: SqlTransaction) -> None:
    model, lane = replace(MODEL, etag="e1"), replace(LANE, etag="e1", epoch=4)
    rollout, monitor = replace(ROLLOUT, etag="e1"), replace(MONITOR, sequence=4)
    transaction.catalog.save_model(model, MODEL)
    transaction.lanes.save_lane(lane, LANE)
    transaction.lanes.save_rollout(rollout, ROLLOUT)
    assert transaction.monitors.save(monitor, MONITOR)
    found = (transaction.catalog.model("m"), transaction.lanes.lane("m", ""), transaction.lanes.rollout("m", 1))
    assert (*found, transaction.monitors.find("m", "")) == (model, lane, rollout, monitor)
