"""A PostgreSQL that crashes and comes back, behind an address that outlives it."""

import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Self

from sqlalchemy import make_url

from services.local.postgres import Postgres


class CrashingPostgres:
    """A server that keeps what it has committed, whatever becomes of its processes.

    Its address is a link to the folder of its socket: that folder is another one after each start.

    Args:
        folder: of its data.
    """

    def __init__(self, folder: Path) -> None:
        # Its processes crash, and not the machine: what they have written is read again, synced or not.
        self._server = Postgres(folder, {"fsync": "off", "full_page_writes": "off", "max_connections": "200"})
        self._pid_file = folder / "data" / "postmaster.pid"
        # A path of its own, for a socket's must be short.
        self._short = Path(tempfile.mkdtemp(prefix="crashing-"))
        self._link = self._short / "socket"

    def __enter__(self) -> Self:
        self._server.start()
        self._point()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.stop()
        shutil.rmtree(self._short, ignore_errors=True)

    def create_database(self, name: str) -> None:
        """Creates an empty one."""
        self._server.create_database(name)

    def url(self, database: str) -> str:
        """The URL of a database, before a crash and after it."""
        return make_url(self._server.url(database)).update_query_dict({"host": str(self._link)}).render_as_string()

    def crash(self) -> None:
        """Ends all its processes at once, whatever they are at (an immediate shutdown), and starts it again."""
        os.kill(int(self._pid_file.read_text().splitlines()[0]), signal.SIGQUIT)
        self._server.stop()
        self._server.start()
        self._point()

    def _point(self) -> None:
        """The link leads to where the socket is by now."""
        following = self._short / "following"
        following.symlink_to(str(make_url(self._server.url("postgres")).query["host"]))
        following.replace(self._link)
