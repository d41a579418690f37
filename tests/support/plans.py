"""Where a database reads more than it is asked for, by the plans that it makes."""

import contextlib
import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, Self

import psycopg

from benchmarks.dsn import dsn, is_cockroach

_TABLE = re.compile(r"^[\s│]*table: (\w+)@", re.MULTILINE)
_READ = re.compile(r"KV rows (?:read|decoded): ([\d,]+)")
_INSERTS = re.compile(r"\bINSERT INTO\b")
_SEARCHES = re.compile(r"DESC\s+LIMIT|\bAS heads\b")
"""Lists, newest first, and what a receiver with a backlog is told next."""

_COLUMNS = b"""
    SELECT class.relname, array_agg(pg_get_indexdef(indexrelid, place::int, false) ORDER BY place)
    FROM pg_index JOIN pg_class AS class ON class.oid = indexrelid, generate_series(1, indnkeyatts) AS place
    WHERE relnamespace = 'public'::regnamespace GROUP BY class.relname
"""
"""The columns of each index, in order."""


class Plans(Protocol):
    """What one database does for a query."""

    def analyze(self, tables: Collection[str]) -> None:
        """Has the planner learn what the tables hold."""

    def waste(self, statement: str, values: Any) -> Iterator[str]:
        """Where it reads a table from end to end, or far more of it than it is asked for."""

    def detours(self, statement: str, values: Any) -> Iterator[str]:
        """Where it goes through an index for columns that others come before, of which it knows nothing."""


class PostgresPlans:
    """Of a PostgreSQL, that reads no table as a whole if it need not.

    Args:
        url: the database's.
        small: tables that may be read as a whole.
        most: rows that a part of a query may read.
    """

    def __init__(self, url: str, small: Collection[str], most: int) -> None:
        self.connection = psycopg.connect(dsn(url), autocommit=True, options="-c enable_seqscan=off")
        self._columns: dict[str, list[str]] = dict(self.connection.execute(_COLUMNS).fetchall())
        self._small = small
        self._most = most

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.connection.close()

    def analyze(self, tables: Collection[str]) -> None:
        """Has the planner learn what the tables hold."""
        self.connection.execute(f"VACUUM ANALYZE {', '.join(tables)}".encode())

    def waste(self, statement: str, values: Any) -> Iterator[str]:
        """Where it reads a table from end to end, or far more of it than it is asked for."""
        # Carried out as well, and counted, for a way round an index that is missing is no reading from end to end. What
        # puts rows in would meet those that it has put in, and finds its place by the table's keys.
        inserts = _INSERTS.search(statement)
        options = "FORMAT JSON" if inserts else "ANALYZE, FORMAT JSON"
        with self.connection.transaction(force_rollback=True):
            row = self.connection.execute(f"EXPLAIN ({options}) {statement}".encode(), values).fetchone()
        assert row is not None
        return postgres_waste(row[0][0]["Plan"], self._small, self._most)

    def detours(self, statement: str, values: Any) -> Iterator[str]:
        """Where it goes through an index for columns that others come before, of which it knows nothing.

        PostgreSQL counts no row that it leaves out so.
        """
        row = self.connection.execute(f"EXPLAIN (FORMAT JSON) {statement}".encode(), values).fetchone()
        assert row is not None
        return postgres_detours(row[0][0]["Plan"], self._columns)

    @contextlib.contextmanager
    def without(self, indexes: Iterable[str]) -> Iterator[None]:
        """As it would be if these were not there."""
        with self.connection.transaction(force_rollback=True):
            for index in indexes:
                self.connection.execute(f"DROP INDEX {index}".encode())
            yield


class CockroachPlans:
    """Of a CockroachDB.

    Of lists and of a receiver's next event nothing is asked: it may read all rows of an index and join the table's
    other columns to them before it leaves out any (21.1 does).

    Args:
        url: the database's.
        small: tables that may be read as a whole.
        most: rows that a part of a query may read.
    """

    def __init__(self, url: str, small: Collection[str], most: int) -> None:
        # EXPLAIN ANALYZE takes no parameters: the client puts the values in.
        self.connection = psycopg.connect(dsn(url), autocommit=True, cursor_factory=psycopg.ClientCursor)
        self._small = small
        self._most = most

    def analyze(self, tables: Collection[str]) -> None:
        """Has the planner learn what the tables hold."""
        for table in tables:
            self.connection.execute(f"ANALYZE {table}".encode())

    def waste(self, statement: str, values: Any) -> Iterator[str]:
        """Where it reads a table from end to end, or far more of it than it is asked for."""
        if _SEARCHES.search(statement):
            return iter(())
        analyze = "ANALYZE " if statement.startswith("SELECT") else ""
        cursor = self.connection.execute(f"EXPLAIN {analyze}{statement}".encode(), values)
        # Before the plan's rows there come, without a row, the columns that the query itself would have.
        while cursor.nextset():
            pass
        return cockroach_waste("\n".join(str(line) for (line,) in cursor.fetchall()), self._small, self._most)

    def detours(self, statement: str, values: Any) -> Iterator[str]:
        """None: it reads such an index from end to end, which is waste."""
        del statement, values
        return iter(())


@contextlib.contextmanager
def plans_of(url: str, small: Collection[str], most: int) -> Iterator[Plans]:
    """The plans of the database that a URL names, over a connection of their own."""
    plans = (CockroachPlans if is_cockroach(url) else PostgresPlans)(url, small, most)
    with plans.connection:
        yield plans


def postgres_waste(node: dict[str, Any], small: Collection[str], most: int) -> Iterator[str]:
    """What is wasted by a node of a PostgreSQL's plan (FORMAT JSON) and by its parts."""
    table = node.get("Relation Name", "")
    if node["Node Type"] == "Seq Scan" and table not in small:
        yield f"{table} is read from end to end"
    rows = (node.get("Actual Rows", 0) + node.get("Rows Removed by Filter", 0)) * node.get("Actual Loops", 1)
    if rows > most:
        yield f"{node['Node Type']} of {table or 'all'} reads {rows} rows"
    for part in node.get("Plans", ()):
        yield from postgres_waste(part, small, most)


def postgres_detours(node: dict[str, Any], columns: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Where a node of a PostgreSQL's plan, or a part of it, gives an index columns without those before them.

    Args:
        node: FORMAT JSON.
        columns: of each index.
    """
    if condition := node.get("Index Cond"):
        index = node["Index Name"]
        given = [bool(re.search(rf"(?<![\w.']){column}(?!\w)", condition)) for column in columns[index]]
        if given != sorted(given, reverse=True):
            yield f"{index} is gone through for {', '.join(itertools.compress(columns[index], given))}"
    for part in node.get("Plans", ()):
        yield from postgres_detours(part, columns)


def cockroach_waste(plan: str, small: Collection[str], most: int) -> Iterator[str]:
    """What is wasted by the parts of a CockroachDB's plan, each with a bullet before it."""
    _, *parts = plan.split("• ")
    assert parts, f"no plan: {plan}"
    for part in parts:
        found = _TABLE.search(part)
        table = found[1] if found else ""
        if read := _READ.search(part):
            # It was carried out: to read a table of few rows as a whole is no waste.
            if int(read[1].replace(",", "")) > most:
                yield f"{part.split(maxsplit=1)[0]} of {table or 'all'} reads {read[1]} rows"
        elif "spans: FULL SCAN" in part and table not in small:
            yield f"{table} is read from end to end"
