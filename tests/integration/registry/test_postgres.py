"""The embedded PostgreSQL: starts anywhere, ends with its parent, and gives back what it was given."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from sqlalchemy import create_engine, text

from services.local.postgres import Postgres
from services.local.postgres_cluster import PostgresError, ServerUser

pytestmark = pytest.mark.postgres_only

HOLDER = """
import sys, time
from pathlib import Path
from services.local.postgres import Postgres
server = Postgres(Path(sys.argv[1]))
server.start()
server.create_database("kept")
print(server.url("kept"), flush=True)
time.sleep(600)
"""


@pytest.fixture
def empty_folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="pg-test-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """One that a server has used before."""
    made = Path(tempfile.mkdtemp(prefix="pg-test-"))
    with Postgres(made) as server:
        server.create_database("kept")
    yield made
    shutil.rmtree(made, ignore_errors=True)


def servers(folder: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if process.pid != os.getpid() and any(str(folder) in part for part in process.info["cmdline"] or ())
    ]


def gone(folder: Path, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while servers(folder):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def until_there(file: Path, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not file.exists():
        assert time.monotonic() < end
        time.sleep(0.002)


def write(url: str, statement: str) -> object:
    engine = create_engine(url, isolation_level="SERIALIZABLE")
    try:
        with engine.begin() as connection:
            result = connection.execute(text(statement))
            return result.scalar_one() if result.returns_rows else None
    finally:
        engine.dispose()


def test_it_keeps_what_it_was_given_and_leaves_nothing(empty_folder: Path) -> None:
    with Postgres(empty_folder) as server:
        server.create_database("kept")
        server.create_database("kept")
        assert write(server.url("kept"), "SHOW transaction_isolation") == "serializable"
        write(server.url("kept"), "CREATE TABLE t (x INT)")
        write(server.url("kept"), "INSERT INTO t VALUES (7)")
        server.create_database("copied", template="kept")
        assert write(server.url("copied"), "SELECT x FROM t") == 7
        server.drop_database("copied")
        sockets = Path(server.url("kept").partition("host=")[2].partition("&")[0])
    assert gone(empty_folder)
    assert sockets == empty_folder or not sockets.exists()
    with Postgres(empty_folder) as server:
        assert write(server.url("kept"), "SELECT x FROM t") == 7


def test_nobody_gets_in_without_the_password(folder: Path) -> None:
    with Postgres(folder) as server:
        server.create_database("kept")
        assert (folder / "pgpass").stat().st_mode & 0o077 == 0
        host = server.url("kept").partition("host=")[2].partition("&")[0]
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(host=host, user="crossfade", dbname="kept", password="wrong")  # noqa: S106 - it is wrong
        assert not any(
            connection.status == "LISTEN"
            for process in servers(folder)
            for connection in process.net_connections("tcp")
        )


def test_a_folder_is_used_once(folder: Path) -> None:
    with Postgres(folder):
        with pytest.raises(PostgresError, match=f"in use by process {os.getpid()}"):
            Postgres(folder).start()
        assert servers(folder)


@pytest.mark.parametrize("guarded", [True, False])
def test_a_killed_parent_leaves_no_server_and_no_loss(folder: Path, *, guarded: bool) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        url = parent.stdout.readline().strip()
        write(url, f"CREATE TABLE guarded_{guarded} AS SELECT 7 AS x")
        if not guarded:
            # The guard is killed as well, so that the server is left behind, to be found by the next start.
            for process in servers(folder):
                if process.name() == "sh":
                    process.kill()
        parent.send_signal(signal.SIGKILL)
    if guarded:
        assert gone(folder)
    with Postgres(folder) as server:
        assert write(server.url("kept"), f"SELECT x FROM guarded_{guarded}") == 7  # noqa: S608 - a bool
    assert gone(folder)


def test_killed_while_it_makes_its_files_it_leaves_the_password_nowhere_else(empty_folder: Path) -> None:
    used, elsewhere = empty_folder / "used", empty_folder / "elsewhere"
    elsewhere.mkdir()
    environment = {**os.environ, "TMPDIR": str(elsewhere)}
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(used)], env=environment) as parent:
        until_there(used / "data.making" / "PG_VERSION")
        parent.send_signal(signal.SIGKILL)
    assert gone(used)
    assert list(elsewhere.iterdir()) == []
    with Postgres(used):
        pass
    password = (used / "pgpass").read_text().strip().rpartition(":")[2]
    assert [file.name for file in used.iterdir() if file.is_file() and password in file.read_text()] == ["pgpass"]


def test_a_foreign_process_under_the_old_number(folder: Path) -> None:
    with Postgres(folder):
        pass
    # As after a restart of a container: the number in the file belongs to a process that is none of ours.
    (folder / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n{folder / 'data'}\n0\n5432\n\n\n\n")
    with Postgres(folder) as server:
        assert server.running


def test_a_long_path(empty_folder: Path) -> None:
    deep = empty_folder / ("long" * 20) / ("path" * 20)
    with Postgres(deep) as server:
        server.create_database("kept")
        assert write(server.url("kept"), "SELECT 1") == 1
    assert gone(deep)


def test_data_of_another_release(empty_folder: Path) -> None:
    (empty_folder / "data").mkdir()
    (empty_folder / "data" / "PG_VERSION").write_text("16\n")
    with pytest.raises(PostgresError, match="written by PostgreSQL 16"):
        Postgres(empty_folder).start()


def test_a_log_tells_why_it_does_not_start(folder: Path) -> None:
    with pytest.raises(PostgresError, match=r'"shared_buffers".*"nonsense"; its log is .*postgres\.log'):
        Postgres(folder, {"shared_buffers": "nonsense"}).start()
    assert "nonsense" in (folder / "postgres.log").read_text()
    assert gone(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_it_runs_without_root(empty_folder: Path) -> None:
    shutil.chown(empty_folder, "nobody")
    nobody = ["setpriv", "--reuid=nobody", "--clear-groups", sys.executable, "-c"]
    if subprocess.run([*nobody, "import services"], check=False, capture_output=True, timeout=60).returncode:
        pytest.skip("this clone lies where only root may enter")
    code = HOLDER.replace("time.sleep(600)", "server.stop()")
    command = [*nobody, code, str(empty_folder / "d")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "cockroachdb+psycopg://" in done.stdout
    assert gone(empty_folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_for_root_its_programs_may_lie_where_only_root_may_enter(tmp_path: Path) -> None:
    """A clone in /root, as in a container: initdb did not find the server beside it."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    program = private / "initdb"
    program.touch(0o755)
    asks = "import os, sys; sys.exit(not os.access(sys.argv[1], os.R_OK | os.X_OK))"
    subprocess.run([*ServerUser.find().command, sys.executable, "-c", asks, program], check=True, timeout=60)


def test_a_folder_that_cannot_be_one_is_named_with_what_to_do(empty_folder: Path) -> None:
    taken = empty_folder / "file"
    taken.touch()
    with pytest.raises(
        PostgresError, match=rf"^{taken} cannot be used: File exists; choose another folder with --data"
    ):
        Postgres(taken).start()
