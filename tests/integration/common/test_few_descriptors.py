"""A service of few file descriptors under many connections: it says what is missing, and goes on when they are gone."""

import asyncio
import json
import os
import socket
import sys
from pathlib import Path

from grpc import aio

from services.common.ports import free_port
from tests.support.health import serves
from tests.support.wait import until, until_async

LIMIT = 100
START = """
import resource, runpy
resource.setrlimit(resource.RLIMIT_NOFILE, (%d, %d))
runpy.run_module("evaluator", run_name="__main__")
"""


async def test_it_says_what_is_missing_and_goes_on_by_itself(tmp_path: Path) -> None:
    port = free_port()
    settings = {
        "CROSSFADE_LISTEN": f"127.0.0.1:{port}",
        "CROSSFADE_REGISTRY": "127.0.0.1:1",
        "CROSSFADE_DRAIN_SECONDS": "0",
    }

    async def serving() -> bool:
        try:
            return await serves(f"127.0.0.1:{port}", "")
        except aio.AioRpcError:
            return False

    log = tmp_path / "log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", START % (LIMIT, LIMIT), env={**os.environ, **settings}, stderr=file
        )
    try:
        await until_async(serving, seconds=60)
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(2 * LIMIT)]

        def warned() -> list[dict[str, object]]:
            lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
            return [line for line in lines if line["event"] == "few file descriptors are left"]

        await until(lambda: bool(warned()), seconds=30)
        assert warned()[0]["limit"] == LIMIT
        for one in held:
            one.close()
        await until_async(serving, seconds=60)
    finally:
        process.terminate()
        await process.wait()
