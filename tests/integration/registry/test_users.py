"""The database's users, and how it is backed up, as docs/deployment.md has them for PostgreSQL: on a real one.

The users have other names here: `crossfade` is this server's administrator.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from registry.migrating import migrate_database
from registry.settings import RegistrySettings
from services.local.postgres import Postgres
from tests.integration.registry.users import FORBIDDEN, OWNER, PAGE, RUNNER, block, renamed, use

pytestmark = pytest.mark.postgres_only


class Server:
    """A PostgreSQL of its own, since users are the whole server's."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._bin = postgres._bin

    def url(self, user: str = "", database: str = "crossfade") -> str:
        """Of a user; none: the administrator."""
        url = make_url(self._postgres.url(database))
        return (url.set(username=user) if user else url).render_as_string(hide_password=False)

    def run(self, program: str, *arguments: str, user: str = "", database: str = "") -> str:
        """Runs one of PostgreSQL's programs."""
        url = make_url(self._postgres.url("postgres"))
        query = {key: str(value) for key, value in url.query.items()}
        environment = {
            "PGHOST": query["host"],
            "PGPORT": query["port"],
            "PGPASSFILE": query["passfile"],
            "PGUSER": user or str(url.username),
            **({"PGDATABASE": database} if database else {}),
        }
        command = [str(self._bin / program), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def say(self, sql: str, database: str = "postgres") -> str:
        """SQL by the administrator, as psql takes it."""
        with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
            file.write(sql)
            file.flush()
            return self.run("psql", "-v", "ON_ERROR_STOP=1", "-Atf", file.name, database=database)

    def connect(self, user: str) -> "psycopg.Connection[tuple[Any, ...]]":
        """A connection of a user."""
        query = {key: str(value) for key, value in make_url(self.url(user)).query.items()}
        return psycopg.connect(psycopg.conninfo.make_conninfo(dbname="crossfade", user=user, **query))


@pytest.fixture
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="pg-users-"))
    with Postgres(folder) as postgres:
        made = Server(postgres)
        entries = [line for line in (folder / "pgpass").read_text().splitlines() if line]
        password = entries[0].rpartition(":")[2]
        # The password file names the administrator alone.
        (folder / "pgpass").write_text("\n".join([*entries, f"*:*:*:*:{password}"]) + "\n")
        made.say(renamed(block("## The database's users", "sql")))
        for user in (OWNER, RUNNER):
            made.say(f"ALTER ROLE {user} PASSWORD '{password}'")
        yield made
    shutil.rmtree(folder, ignore_errors=True)


async def test_the_running_registry_can_change_rows_and_no_table(server: Server) -> None:
    migrate_database(RegistrySettings(database=server.url(OWNER)), check_only=False)
    assert await use(server.url(RUNNER)) == ["models/m"]
    with server.connect(RUNNER) as connection:
        for statement in FORBIDDEN:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
            connection.rollback()


async def test_a_database_of_before_is_handed_over(server: Server) -> None:
    server.say(f"GRANT CREATE ON SCHEMA public TO {RUNNER}", "crossfade")
    migrate_database(RegistrySettings(database=server.url(RUNNER)), check_only=False)
    server.say(f"REVOKE CREATE ON SCHEMA public FROM {RUNNER}", "crossfade")
    handing_over = PAGE.partition("the administrator says once:")[2]
    server.say(renamed(handing_over.partition("```sql\n")[2].partition("```")[0]), "crossfade")
    assert await use(server.url(RUNNER)) == ["models/m"]
    migrate_database(RegistrySettings(database=server.url(OWNER)), check_only=False)
    with server.connect(RUNNER) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("DROP TABLE events")


async def test_what_was_backed_up_can_be_put_back(server: Server, tmp_path: Path) -> None:
    migrate_database(RegistrySettings(database=server.url(OWNER)), check_only=False)
    assert await use(server.url(RUNNER)) == ["models/m"]
    commands = [line.split() for line in block("On PostgreSQL, which may go on meanwhile", "sh").splitlines()]
    dump, restore = (
        [str(tmp_path / word) if word.endswith(".dump") else word.replace("crossfade_migrate", OWNER) for word in words]
        for words in commands
        if words[0].startswith("pg_")
    )
    server.run(*dump)
    server.say("ALTER DATABASE crossfade RENAME TO crossfade_before")
    anew = renamed(block("## The database's users", "sql"))
    server.say("\n".join(line for line in anew.splitlines() if not line.startswith("CREATE ROLE")))
    server.run(*restore)
    assert migrate_database(RegistrySettings(database=server.url(OWNER)), check_only=True)
    assert await use(server.url(RUNNER)) == ["models/m"]
    with server.connect(RUNNER) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("DROP TABLE events")
