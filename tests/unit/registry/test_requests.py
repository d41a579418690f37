"""Mutations: what is answered where the database says that another one was first."""

from collections.abc import Callable
from typing import Any, cast

import grpc
import pytest

from registry.ports import DoneBefore, Stale, Transaction, UnitOfWork
from registry.repositories import Answer, RequestKey
from registry.service.requests import Mutations
from services.common.errors import AbortedError, InvalidArgumentError
from services.common.statuses import code_of
from tests.fakes.clock import ManualClock

KEY = RequestKey("me", "PromoteRollout", "0f5a6d1e", "a digest")


class Database:
    """One that keeps answers, and is a transaction by itself.

    Attributes:
        kept: the answers by their keys.
        turns: of each transaction, whether it took its turn.
        forgets: answers are removed as soon as one of them was found to be there.
    """

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str, str], Answer] = {}
        self.turns: list[bool] = []
        self.forgets = False

    @property
    def requests(self) -> "Database":
        """The table of answers."""
        return self

    def find(self, key: RequestKey) -> Answer | None:
        """The answer that is kept."""
        return self.kept.get((key.principal, key.rpc, key.request_id))

    def put(self, key: RequestKey, payload: bytes, _now: float) -> None:
        """Keeps an answer."""
        if self.find(key) is not None:
            if self.forgets:
                self.kept.clear()
            raise DoneBefore
        self.kept[key.principal, key.rpc, key.request_id] = Answer(key.digest, payload)

    def flush(self) -> None:
        """Nothing waits to be written."""

    def run(self, work: Callable[[Any], Any], *, deadline: float, exclusive: bool = False) -> Any:
        """Runs a transaction."""
        del deadline
        self.turns.append(exclusive)
        return work(self)

    def ask(self, work: Callable[[Any], Any], *, deadline: float) -> Any:
        """Asks a question."""
        del deadline
        return work(self)


def mutations(database: Database) -> Mutations:
    return Mutations(cast("UnitOfWork", database), ManualClock())


def stale(_tx: Transaction, _now: float) -> bytes:
    """A change whose row was changed by another one."""
    raise Stale


def test_a_change_that_finds_another_one_is_refused_and_its_answer_not_kept() -> None:
    database = Database()
    with pytest.raises(AbortedError, match="at the same moment") as caught:
        mutations(database).run(KEY, stale, deadline=0.0)
    assert caught.value.reason == "ETAG_STALE"
    assert not database.kept


def test_one_that_was_carried_out_already_is_answered_as_it_was_whatever_it_finds_now() -> None:
    database = Database()
    service = mutations(database)
    assert service.run(KEY, lambda _tx, _now: b"done", deadline=0.0) == b"done"
    assert service.run(KEY, lambda _tx, _now: b"done twice", deadline=0.0) == b"done"
    assert service.run(KEY, stale, deadline=0.0) == b"done"
    other = RequestKey(KEY.principal, KEY.rpc, KEY.request_id, "another digest")
    for act in (stale, lambda _tx, _now: b"done"):
        with pytest.raises(InvalidArgumentError) as caught:
            service.run(other, act, deadline=0.0)
        assert caught.value.reason == "REQUEST_ID_REUSED"


def test_an_answer_that_is_forgotten_as_it_is_looked_for_ends_the_call_with_a_code() -> None:
    database = Database()
    service = mutations(database)
    assert service.run(KEY, lambda _tx, _now: b"done", deadline=0.0) == b"done"
    database.forgets = True
    with pytest.raises(AbortedError, match="carried out before") as caught:
        service.run(KEY, lambda _tx, _now: b"done twice", deadline=0.0)
    assert code_of(caught.value) is grpc.StatusCode.ABORTED
    # What was refused for another reason is told that.
    with pytest.raises(AbortedError) as caught:
        service.run(KEY, stale, deadline=0.0)
    assert caught.value.reason == "ETAG_STALE"


def test_what_is_refused_before_its_transaction_opens_none() -> None:
    database = Database()

    def refuse() -> None:
        raise AbortedError("SEQUENCE_STALE", "look again")

    with pytest.raises(AbortedError) as caught:
        mutations(database).run(KEY, stale, before=refuse, deadline=0.0)
    assert caught.value.reason == "SEQUENCE_STALE"
    assert not database.turns


def test_a_change_takes_its_turn_unless_it_says_that_it_changes_no_lane() -> None:
    database = Database()
    mutations(database).run(KEY, lambda _tx, _now: b"", deadline=0.0)
    other = RequestKey(KEY.principal, KEY.rpc, "another", "a digest")
    mutations(database).run(other, lambda _tx, _now: b"", deadline=0.0, exclusive=False)
    assert database.turns == [True, False]
