"""A disk of a test's own, which can be full.

It is a file system in memory, mounted in a name space of a process's own, so that anybody may do it whom the system
lets have one (user_namespaces(7)), and nothing is left of it when that process ends. Others see it below /proc.
"""

import asyncio
import os
import subprocess
from asyncio.subprocess import PIPE
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

_FILLING: Final = "filling"
_BLOCK: Final = bytes(65536)


class NoDiskError(Exception):
    """This system lets us have no file system of our own; the message says what it said."""


def _apart() -> list[str]:
    """What goes before a command so that it may mount what it likes, and nobody else sees it."""
    if os.geteuid() == 0:
        return ["unshare", "--mount"]
    return ["unshare", "--user", "--map-current-user", "--keep-caps", "--mount"]


def mounting(folder: Path, megabytes: int) -> list[str]:
    """What mounts a file system of this size there."""
    return ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "crossfade-small", str(folder)]


class OwnDisk:
    """A small disk, and the process that has it.

    Args:
        folder: empty; where that process has it.
        megabytes: its size.
    """

    def __init__(self, folder: Path, megabytes: int) -> None:
        self._folder = folder
        self._megabytes = megabytes
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        """Starts the process.

        Raises:
            NoDiskError: the system lets us have none.
        """
        try:
            trial = [*_apart(), *mounting(self._folder, 1)]
            done = await asyncio.to_thread(subprocess.run, trial, capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise NoDiskError(str(error)) from error
        if done.returncode:
            raise NoDiskError(done.stderr.strip())
        self._process = await asyncio.create_subprocess_exec(*_apart(), *self._command(), stdin=PIPE, stdout=PIPE)
        try:
            if not await self._hear():
                raise RuntimeError(f"nothing came up in {self._folder}; what is wrong stands above")
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    @property
    def folder(self) -> Path:
        """The disk, as it is seen from outside."""
        return self._seen()

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

    def _command(self) -> list[str]:
        """What the process is: it mounts the disk, writes a line, and ends with its standard input."""
        return ["sh", "-c", '"$@" && echo mounted && exec cat', "sh", *mounting(self._folder, self._megabytes)]

    def _seen(self, path: str = "") -> Path:
        """A path of the process's, as it is seen from outside."""
        assert self._process is not None
        return Path(f"/proc/{self._process.pid}/root{path or self._folder}")

    async def _line(self) -> bytes:
        """The next line that the process writes; empty: it has ended."""
        assert self._process is not None
        assert self._process.stdout is not None
        return await self._process.stdout.readline()

    async def _hear(self) -> bool:
        """Waits until it says that it is there; whether it did."""
        return bool(await self._line())
