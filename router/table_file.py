"""The last table on disk, so that a Router that starts while the Registry is away still serves."""

import asyncio
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import structlog
from google.protobuf.message import DecodeError

from crossfade.registry.v1 import resources_pb2, service_pb2
from services.common.loops import wait_at_most
from services.common.route_message import route_message

PAUSE_SECONDS: Final = 1.0
_LONGER: Final = 6
"""How often the pause is doubled at most: a disk that is full stays so for a while."""


class TableFile:
    """One file, made and written off the event loop: neither many lanes nor a slow disk must keep calls waiting.

    All lanes are written each time, and a fleet of Workers that starts changes them many times a second: so there is a
    pause after each time, and the file may be as much older than the table.

    Args:
        path: the file.
        log: gets a line when it cannot be read or written.
        pause_seconds: between two times that it is written.

    Raises:
        ValueError: the path is a folder's.
    """

    def __init__(
        self, path: Path, log: structlog.typing.FilteringBoundLogger, pause_seconds: float = PAUSE_SECONDS
    ) -> None:
        if path.is_dir():
            raise ValueError(f"CROSSFADE_TABLE_FILE: {path} is a folder: name a file, as {path / 'routes'}")
        self._path = path
        self._log = log
        self._pause_seconds = pause_seconds
        self._closing = asyncio.Event()
        self._next: tuple[int, Sequence[resources_pb2.LaneRoutes]] | None = None
        self._writing: asyncio.Task[None] | None = None

    def load(self) -> service_pb2.WatchRoutesResponse | None:
        """The snapshot on disk; None: there is none, or it cannot be used, and the Registry is waited for."""
        try:
            snapshot = service_pb2.WatchRoutesResponse.FromString(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            reason = str(error.strerror)
        except DecodeError:
            reason = "it is damaged"
        else:
            if snapshot.snapshot:
                return snapshot
            reason = "it holds no table"
        self.say_unusable(reason)
        return None

    def say_unusable(self, reason: str) -> None:
        """Says in the log why what is on disk is not used."""
        self._log.warning(
            "the table on disk cannot be used; it is made anew when the Registry answers",
            file=str(self._path),
            reason=reason,
        )

    def keep(self, revision: int, lanes: Iterable[resources_pb2.LaneRoutes]) -> None:
        """Has a snapshot written, after the one that is being written and instead of one that waits.

        Args:
            revision: the routes'.
            lanes: all of them, which nobody changes any more.
        """
        self._next = (revision, tuple(lanes))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def close(self) -> None:
        """Waits until the newest snapshot is on disk."""
        self._closing.set()
        if self._writing is not None:
            await self._writing

    async def _write(self) -> None:
        failures = 0
        while self._next is not None:
            kept, self._next = self._next, None
            try:
                await asyncio.to_thread(self._replace, *kept)
            except Exception as error:  # noqa: BLE001 - no room, no memory, no thread: it may be there soon
                # The table in memory serves on; only a restart without the Registry would miss this one.
                if not failures:
                    self._log.error(
                        "the table cannot be kept on disk; it is tried again",
                        file=str(self._path),
                        reason=str(error) or type(error).__name__,
                    )
                failures += 1
                # What is not to be written while this Router ends is not written by it any more.
                if self._next is None and not self._closing.is_set():
                    self._next = kept
            else:
                if failures:
                    self._log.info("the table is kept on disk again", file=str(self._path))
                failures = 0
            await wait_at_most(self._pause_seconds * 2.0 ** min(failures, _LONGER), self._closing)

    def _replace(self, revision: int, lanes: Sequence[resources_pb2.LaneRoutes]) -> None:
        """Replaces the file in one step: a reader sees the old or the new table."""
        # Lane by lane: the event loop gets its turns in between.
        data = route_message((lane.SerializeToString() for lane in lanes), revision=revision, snapshot=True)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(f".{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        except OSError:
            # Half a table would keep a full disk full, and each start of a Router would leave another.
            temporary.unlink(missing_ok=True)
            raise
