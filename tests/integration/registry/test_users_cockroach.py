"""The database's users on a CockroachDB, as docker/database-init.sql and docs/deployment.md have them.

It knows no users without a password but where it asks for no certificates (`--insecure`).
"""

import re
import uuid
from collections.abc import Iterator
from typing import Final

import psycopg
import pytest
from sqlalchemy.engine import make_url

from benchmarks.given_server import GivenServer
from registry.migrating import migrate_database
from registry.settings import RegistrySettings
from tests.integration.registry.users import FORBIDDEN, OWNER, ROOT, RUNNER, block, renamed, use
from tests.support.postgres import Server

INIT: Final = (ROOT / "docker/database-init.sql").read_text()


class Users:
    """A database with an owner and a user, on a server that was given."""

    def __init__(self, server: GivenServer) -> None:
        self._server = server
        self.database = f"users_{uuid.uuid4().hex}"

    def url(self, user: str) -> str:
        """Of a user."""
        return make_url(self._server.url(self.database)).set(username=user).render_as_string(hide_password=False)

    def connect(self, user: str) -> psycopg.Connection[tuple[object, ...]]:
        """A connection of a user."""
        return GivenServer(self.url(user)).connect()

    def say(self, sql: str, database: str = "") -> None:
        """SQL by the administrator, one statement after the other, with this test's names."""
        with self._server.connect(database) as connection:
            for statement in renamed(re.sub(r"^--.*$", "", sql, flags=re.MULTILINE), self.database).split(";"):
                if statement.strip():
                    connection.execute(statement.encode())

    def migrate(self, user: str) -> None:
        """Makes the tables, or changes them, as this user."""
        migrate_database(RegistrySettings(database=self.url(user)), check_only=False)

    def owners(self) -> set[object]:
        """Whose the tables are."""
        with self._server.connect(self.database) as connection:
            asked = connection.execute("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
            return {owner for (owner,) in asked}


@pytest.fixture
def users(postgres: Server) -> Iterator[Users]:
    if not isinstance(postgres, GivenServer):
        pytest.skip("for a CockroachDB; test_users.py has PostgreSQL's")
    with postgres.connect() as connection:
        release = re.search(r"v(\d+)\.", str(connection.execute("SELECT version()").fetchone()))
    if release is None or int(release[1]) < 22:
        pytest.skip("the schema public has no privileges of its own before CockroachDB 22.1")
    made = Users(postgres)
    try:
        made.say(INIT)
        try:
            made.connect(RUNNER).close()
        except psycopg.OperationalError:
            pytest.skip("users have certificates here")
        yield made
    finally:
        made.say("DROP DATABASE IF EXISTS crossfade CASCADE; DROP USER IF EXISTS crossfade, crossfade_migrate")


async def test_the_running_registry_can_change_rows_and_no_table(users: Users) -> None:
    users.say(INIT)
    users.migrate(OWNER)
    assert users.owners() == {OWNER}
    assert await use(users.url(RUNNER)) == ["models/m"]
    with users.connect(RUNNER) as connection:
        for statement in FORBIDDEN:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


async def test_what_was_put_back_is_handed_over(users: Users) -> None:
    """Tables that were restored belong to whoever restored them, and have none of the grants that they had."""
    users.say("DROP DATABASE crossfade CASCADE; CREATE DATABASE crossfade")
    users.migrate("root")
    users.say(INIT)
    users.say(block("`database-init.sql` once more", "sql"))
    assert users.owners() == {OWNER}
    assert await use(users.url(RUNNER)) == ["models/m"]
    users.migrate(OWNER)
    with users.connect(RUNNER) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("DROP TABLE events")
