"""What CockroachDB answers and PostgreSQL never does; what it refuses of the statements that the Registry makes.

Source: CockroachDB, pkg/sql/opt/optbuilder, `getCTECols` and `checkMultipleMutations`.
"""

import re

import psycopg

_PART = re.compile(r"\bAS\s*\(\s*(?:INSERT INTO|UPDATE|DELETE FROM)\s+(\w+)", re.IGNORECASE)


class Uncategorized(psycopg.InternalError):
    """Its answer where one of its nodes ends in the middle of a statement."""

    sqlstate = "XXUUU"


def refused_by_cockroach(statement: str) -> str:
    """Why CockroachDB would not take a statement; empty: nothing is known against it."""
    written = _PART.findall(statement)
    if not statement.lstrip().upper().startswith("WITH") or not written:
        return ""
    if statement.upper().count("RETURNING") < len(written):
        return "a part of WITH that writes returns no columns"
    if len(set(written)) < len(written):
        return "a table is written twice"
    return ""
