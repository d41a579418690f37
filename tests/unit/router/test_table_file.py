"""The table on disk: what cannot be used is said, and stops nothing."""

import asyncio
import errno
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest
import structlog
from structlog.testing import LogCapture

from crossfade.registry.v1 import resources_pb2, service_pb2
from router.table_file import TableFile
from tests.support.wait import until


@pytest.fixture
def lines() -> LogCapture:
    return LogCapture()


def table_file(path: Path, lines: LogCapture) -> TableFile:
    return TableFile(path, structlog.wrap_logger(structlog.PrintLogger(), processors=[lines]))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xff\xff", "it is damaged"),
        (b"", "it holds no table"),
        (service_pb2.WatchRoutesResponse(revision=3).SerializeToString(), "it holds no table"),
    ],
)
def test_a_damaged_table_is_said(tmp_path: Path, lines: LogCapture, content: bytes, reason: str) -> None:
    path = tmp_path / "routes"
    path.write_bytes(content)
    assert table_file(path, lines).load() is None
    (line,) = lines.entries
    assert (line["log_level"], line["file"], line["reason"]) == ("warning", str(path), reason)


def test_a_table_that_cannot_be_read_is_said(tmp_path: Path, lines: LogCapture) -> None:
    """A folder that came after the start is what root cannot read either."""
    path = tmp_path / "routes"
    kept = table_file(path, lines)
    path.mkdir()
    assert kept.load() is None
    assert [line["reason"] for line in lines.entries] == ["Is a directory"]


def test_none_yet_is_no_news(tmp_path: Path, lines: LogCapture) -> None:
    assert table_file(tmp_path / "routes", lines).load() is None
    assert lines.entries == []


async def test_a_table_is_read_back(tmp_path: Path, lines: LogCapture) -> None:
    path = tmp_path / "routes"
    kept = service_pb2.WatchRoutesResponse(revision=3, snapshot=True)
    kept.lanes.add(model="churn", epoch=2)
    kept.lanes.add(model="fraud", segment="eu").wanted.add(version="v1").signature.classes.extend(["no", "yes"])
    file = table_file(path, lines)
    file.keep(kept.revision, kept.lanes)
    await file.close()
    assert path.read_bytes() == kept.SerializeToString()
    assert table_file(path, lines).load() == kept


class NotingRoutes:
    """Routes that note which thread serializes them."""

    def __init__(self) -> None:
        self.threads = list[int]()

    def SerializeToString(self) -> bytes:  # noqa: N802
        """Those of no lane."""
        self.threads.append(threading.get_ident())
        return b""


async def test_the_event_loop_serializes_no_routes(tmp_path: Path, lines: LogCapture) -> None:
    """Two hundred large lanes took 0.2 s of it, at each change of one."""
    routes = NotingRoutes()
    file = table_file(tmp_path / "routes", lines)
    file.keep(1, [cast("resources_pb2.LaneRoutes", routes)])
    await file.close()
    assert len(routes.threads) == 1
    assert threading.get_ident() not in routes.threads


async def test_a_storm_of_changes_is_written_at_its_begin_and_at_its_end(tmp_path: Path, lines: LogCapture) -> None:
    """Each time all lanes are written, by a process that carries calls."""
    path = tmp_path / "routes"
    written = list[int]()

    class Noted(TableFile):
        def _replace(self, revision: int, lanes: Sequence[resources_pb2.LaneRoutes]) -> None:
            super()._replace(revision, lanes)
            written.append(revision)

    file = Noted(path, structlog.wrap_logger(structlog.PrintLogger(), processors=[lines]), pause_seconds=3600.0)
    file.keep(1, [resources_pb2.LaneRoutes(model="churn")])
    await until(lambda: written == [1])
    for revision in range(2, 100):
        file.keep(revision, [resources_pb2.LaneRoutes(model="churn")])
        await asyncio.sleep(0)
    await file.close()
    assert written == [1, 99]
    assert service_pb2.WatchRoutesResponse.FromString(path.read_bytes()).revision == 99


async def test_a_full_disk_is_left_as_it_was(
    tmp_path: Path, lines: LogCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written of a table would keep it full."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "routes"
    path.write_bytes(b"before")
    monkeypatch.setattr(os, "fsync", full)
    file = table_file(path, lines)
    file.keep(1, [resources_pb2.LaneRoutes(model="churn")])
    await file.close()
    assert [line["event"] for line in lines.entries] == ["the table cannot be kept on disk; it is tried again"]
    assert os.listdir(tmp_path) == ["routes"]  # noqa: PTH208 - no path is wanted
    assert path.read_bytes() == b"before"


@pytest.mark.parametrize(
    "failure",
    [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), RuntimeError("can't start new thread"), MemoryError()],
    ids=["disk", "thread", "memory"],
)
async def test_a_table_that_could_not_be_written_is_tried_again(
    tmp_path: Path, lines: LogCapture, failure: Exception
) -> None:
    """Routes may not change for weeks, and a Router that starts meanwhile without the Registry would have old ones."""
    tries = list[int]()

    class Full(TableFile):
        def _replace(self, revision: int, lanes: Sequence[resources_pb2.LaneRoutes]) -> None:
            tries.append(revision)
            if len(tries) < 4:
                raise failure
            super()._replace(revision, lanes)

    path = tmp_path / "routes"
    file = Full(path, structlog.wrap_logger(structlog.PrintLogger(), processors=[lines]), pause_seconds=0.01)
    file.keep(7, [resources_pb2.LaneRoutes(model="churn")])
    await until(lambda: len(lines.entries) == 2)
    await file.close()
    assert tries == [7] * 4
    assert [line["event"] for line in lines.entries] == [
        "the table cannot be kept on disk; it is tried again",
        "the table is kept on disk again",
    ]
    assert lines.entries[0]["reason"] == (str(failure) or "MemoryError")
    assert service_pb2.WatchRoutesResponse.FromString(path.read_bytes()).revision == 7


async def test_a_newer_table_is_tried_instead(tmp_path: Path, lines: LogCapture) -> None:
    tries = list[int]()

    class Full(TableFile):
        def _replace(self, revision: int, lanes: Sequence[resources_pb2.LaneRoutes]) -> None:
            tries.append(revision)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    log = structlog.wrap_logger(structlog.PrintLogger(), processors=[lines])
    file = Full(tmp_path / "routes", log, pause_seconds=0.01)
    file.keep(1, ())
    await until(lambda: len(tries) == 2)
    file.keep(2, ())
    await until(lambda: tries[-1] == 2)
    await file.close()
    assert tries == sorted(tries)


async def test_what_cannot_be_written_keeps_no_router_from_ending(tmp_path: Path, lines: LogCapture) -> None:
    class Small(TableFile):
        def _replace(self, revision: int, lanes: Sequence[resources_pb2.LaneRoutes]) -> None:
            raise MemoryError

    file = Small(tmp_path / "routes", structlog.wrap_logger(structlog.PrintLogger(), processors=[lines]))
    file.keep(1, ())
    await file.close()
    assert [line["reason"] for line in lines.entries] == ["MemoryError"]
