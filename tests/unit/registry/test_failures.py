"""What database errors mean, and how long to wait after them."""

import random

import psycopg
import pytest
from psycopg import errors as pg
from sqlalchemy import exc

from registry.database.engine import DatabaseUrlError, parse_url
from registry.database.failures import Failure, classify
from registry.database.unit_of_work import backoff
from tests.support.cockroach import Uncategorized


@pytest.mark.parametrize(
    ("cause", "failure"),
    [
        (pg.SerializationFailure(), Failure.RETRY),
        (pg.DeadlockDetected(), Failure.RETRY),
        (pg.UniqueViolation(), Failure.RETRY),
        (pg.StatementCompletionUnknown(), Failure.LOST),
        (pg.AdminShutdown(), Failure.LOST),
        (pg.CannotConnectNow(), Failure.LOST),
        (pg.ConnectionFailure(), Failure.LOST),
        (psycopg.OperationalError("consuming input failed"), Failure.LOST),
        (pg.DiskFull(), Failure.UNAVAILABLE),
        (pg.TooManyConnections(), Failure.UNAVAILABLE),
        (pg.QueryCanceled(), Failure.UNAVAILABLE),
        (pg.ReadOnlySqlTransaction(), Failure.UNAVAILABLE),
        (pg.CheckViolation(), Failure.DEFECT),
        (pg.FeatureNotSupported(), Failure.DEFECT),
        (Uncategorized(), Failure.LOST),
        (pg.InternalError_(), Failure.DEFECT),
        (pg.UndefinedTable(), Failure.UNAVAILABLE),
        (pg.InsufficientPrivilege(), Failure.UNAVAILABLE),
        (pg.UndefinedColumn(), Failure.DEFECT),
    ],
)
def test_classify(cause: psycopg.Error, failure: Failure) -> None:
    kind = exc.OperationalError if isinstance(cause, psycopg.OperationalError) else exc.DBAPIError
    assert classify(kind("SELECT 1", {}, cause)) is failure
    assert classify(cause) is failure


@pytest.mark.parametrize("cause", [pg.FeatureNotSupported(), pg.ReadOnlySqlTransaction()])
def test_a_connection_to_a_standby_that_was_let_go_is_lost(cause: psycopg.Error) -> None:
    assert classify(exc.DBAPIError("SELECT 1", {}, cause, connection_invalidated=True)) is Failure.LOST


def test_a_full_pool_is_unavailable() -> None:
    assert classify(exc.TimeoutError()) is Failure.UNAVAILABLE
    assert classify(ValueError()) is Failure.DEFECT


def test_backoff_grows_to_a_second() -> None:
    draw = random.Random(1).uniform
    for attempt in range(12):
        assert 0 <= backoff(attempt, draw) <= min(1.0, 0.02 * 2**attempt)
    assert backoff(3, lambda low, high: high) == pytest.approx(0.16)
    assert backoff(20, lambda low, high: high) == 1.0


@pytest.mark.parametrize("text", ["postgresql://a@h/d", "postgresql+psycopg2://a@h/d", "mysql://a@h/d", "x"])
def test_database_urls(text: str) -> None:
    if text == "postgresql://a@h/d":
        assert parse_url(text).drivername == "cockroachdb+psycopg"
        return
    with pytest.raises(DatabaseUrlError, match=r"write cockroachdb\+psycopg://"):
        parse_url(text)
