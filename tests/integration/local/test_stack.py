"""The services of one folder: what a start that is given up leaves behind."""

import asyncio
import hashlib
import os
from pathlib import Path

import psutil

from services.local.stack import Ports, Stack, StackOptions
from tests.support.wait import until


def sockets_of(data: Path) -> list[Path]:
    """Folders of the database's socket that lie elsewhere, since its own path is too long for one."""
    digest = hashlib.sha256(os.fsencode(data / "postgres")).hexdigest()[:8]
    return list(Path("/tmp").glob(f"crossfade-{digest}-*"))  # noqa: S108 - where a short path is


def servers_of(data: Path) -> list[psutil.Process]:
    return [
        one
        for one in psutil.process_iter(["cmdline"])
        if str(data / "postgres" / "data") in (one.info["cmdline"] or ())
    ]


async def test_given_up_while_the_database_starts_it_leaves_neither_a_server_nor_its_socket(tmp_path: Path) -> None:
    data = tmp_path / ("long" * 20) / ("path" * 20)
    starting = asyncio.create_task(Stack(StackOptions(data, Ports.free())).__aenter__())
    await until((data / "postgres" / "data.making").exists)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    assert starting.cancelled()
    # What a thread still does, it does up to here.
    await asyncio.get_running_loop().shutdown_default_executor()
    assert servers_of(data) == []
    assert sockets_of(data) == []
