"""`python -m tests.support.small_disk FOLDER MEGABYTES`: a PostgreSQL on a disk of its own, which can be full.

Like a server's supervisor it starts PostgreSQL again when that has ended. Prints a line with the URL of the database
"kept" at each start, and ends with its standard input.
"""

import asyncio
import json
import select
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from sqlalchemy import make_url

from services.local.postgres import Postgres
from services.local.postgres_cluster import PostgresError
from tests.support.own_disk import OwnDisk, mounting


class SmallDisk(OwnDisk):
    """A PostgreSQL on a small disk.

    Args:
        folder: empty, with a short path.
        megabytes: its size.

    Attributes:
        started: how often PostgreSQL was.
        url: of the database "kept", at the server that was started last.
        on_start: called with the URL when PostgreSQL was started again.
    """

    def __init__(self, folder: Path, megabytes: int) -> None:
        super().__init__(folder, megabytes)
        self._listening: asyncio.Task[None] | None = None
        self.started = 0
        self.url = ""
        self.on_start: Callable[[str], None] = lambda _url: None

    async def __aenter__(self) -> Self:
        """Starts it.

        Raises:
            NoDiskError: the system lets us have none.
        """
        await super().__aenter__()
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        if self._listening is not None:
            await self._listening

    def _command(self) -> list[str]:
        return [sys.executable, "-m", __name__, str(self._folder), str(self._megabytes)]

    async def _hear(self) -> bool:
        """Whether it has said where PostgreSQL is."""
        line = await self._line()
        if not line:
            return False
        inside = make_url(json.loads(line)["url"])
        paths = {name: str(self._seen(str(inside.query[name]))) for name in ("host", "passfile")}
        self.url = inside.update_query_dict(paths).render_as_string(hide_password=False)
        self.started += 1
        return True

    async def _listen(self) -> None:
        while await self._hear():
            self.on_start(self.url)


def main(folder: Path, megabytes: int) -> None:
    """Keeps PostgreSQL running until standard input ends."""
    subprocess.run(mounting(folder, megabytes), check=True)
    # Of the log there are two files, so that a full disk soon stops that as well.
    server = Postgres(folder / "postgres", {"min_wal_size": "32MB", "max_wal_size": "32MB"})
    _start(server)
    while not select.select([sys.stdin], [], [], 0.2)[0]:
        if not server.running:
            server.stop()
            # Without room it may not come.
            with suppress(PostgresError, OSError):
                _start(server)
    server.stop()


def _start(server: Postgres) -> None:
    server.start()
    server.create_database("kept")
    sys.stdout.write(json.dumps({"url": server.url("kept")}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
