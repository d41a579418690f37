"""`python -m tests.support.small_disk FOLDER MEGABYTES`: a PostgreSQL on a disk of its own, which can be full.

The disk is a file system in memory. It is mounted in a name space of this process's own, so that anybody may do it
whom the system lets have one (user_namespaces(7)), and nothing is left of it when the process ends. Others see it
below /proc. Like a server's supervisor it starts PostgreSQL again when that has ended. Prints a line with the URL of
the database "kept" at each start, and ends with its standard input.
"""

import asyncio
import json
import os
import select
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from sqlalchemy import make_url

from services.local.postgres import Postgres
from services.local.postgres_cluster import PostgresError

_FILLING: Final = "filling"
_BLOCK: Final = bytes(65536)


class NoDiskError(Exception):
    """This system lets us have no file system of our own; the message says what it said."""


def _apart() -> list[str]:
    """What goes before a command so that it may mount what it likes, and nobody else sees it."""
    if os.geteuid() == 0:
        return ["unshare", "--mount"]
    return ["unshare", "--user", "--map-current-user", "--keep-caps", "--mount"]


def _mount(folder: Path, megabytes: int) -> list[str]:
    return ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "crossfade-small", str(folder)]


class SmallDisk:
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
        self._folder = folder
        self._megabytes = megabytes
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self.started = 0
        self.url = ""
        self.on_start: Callable[[str], None] = lambda _url: None

    async def __aenter__(self) -> Self:
        """Starts it.

        Raises:
            NoDiskError: the system lets us have none.
        """
        try:
            trial = [*_apart(), *_mount(self._folder, 1)]
            done = await asyncio.to_thread(subprocess.run, trial, capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise NoDiskError(str(error)) from error
        if done.returncode:
            raise NoDiskError(done.stderr.strip())
        command = [*_apart(), sys.executable, "-m", __name__, str(self._folder), str(self._megabytes)]
        self._process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
        try:
            if not await self._hear():
                raise RuntimeError(f"no PostgreSQL came up in {self._folder}; what is wrong stands above")
        except BaseException:
            await self.__aexit__()
            raise
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        if self._listening is not None:
            await self._listening

    def fill(self, left: int = 0) -> None:
        """Leaves so many bytes."""
        with (self._seen() / _FILLING).open("ab", buffering=0) as file:
            with suppress(OSError):
                while True:
                    file.write(_BLOCK)
            file.truncate(file.tell() - left)

    def make_room(self) -> None:
        """Takes away what filled it."""
        (self._seen() / _FILLING).unlink()

    def _seen(self, path: str = "") -> Path:
        """A path of the process's, as it is seen from outside."""
        assert self._process is not None
        return Path(f"/proc/{self._process.pid}/root{path or self._folder}")

    async def _hear(self) -> bool:
        """Whether it has said where PostgreSQL is."""
        assert self._process is not None
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
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
    subprocess.run(_mount(folder, megabytes), check=True)
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
