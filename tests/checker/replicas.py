"""Registries as processes on one database: killed and started again, their connections cut, their database crashed."""

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import grpc
import psycopg
from grpc import aio

from crossfade.registry.v1 import service_pb2, service_pb2_grpc
from services.common.ports import free_port
from tests.support.sessions import sessions_of, until_quiet

_CHANNEL: Final = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.use_local_subchannel_pool", 1),
)
_CRASHES: Final = 5
"""One trouble in so many is the database's, the others are a replica's."""


class Replicas:
    """Two or more Registries.

    Args:
        database: URL.
        folder: of their logs.
        count: how many.
        module: what runs; another one than the Registry's own sabotages it.
        arguments: of the module.
        crash: crashes the database and starts it again; None: it is none of ours.
    """

    def __init__(
        self,
        database: str,
        folder: Path,
        count: int = 2,
        module: str = "registry",
        arguments: tuple[str, ...] = (),
        crash: Callable[[], None] | None = None,
    ) -> None:
        self._database = database
        self._folder = folder
        self._sessions = sessions_of(database)
        self._command = (sys.executable, "-m", module, *arguments)
        self.addresses = [f"127.0.0.1:{free_port()}" for _ in range(count)]
        self._processes: list[asyncio.subprocess.Process | None] = [None] * count
        self._channels = [aio.insecure_channel(address, options=_CHANNEL) for address in self.addresses]
        self.stubs = [service_pb2_grpc.RegistryServiceStub(channel) for channel in self._channels]
        self._crash = crash
        self._ending: asyncio.Task[None] | None = None
        self.kills = 0
        self.cuts = 0
        self.crashes = 0

    async def start(self) -> None:
        """Starts all, and waits until they answer."""
        for index in range(len(self.addresses)):
            await self._start(index)
        await self.until_all_answer()

    async def _start(self, index: int) -> None:
        settings = {
            "CROSSFADE_DATABASE": self._database,
            "CROSSFADE_LISTEN": self.addresses[index],
            "CROSSFADE_DATABASE_CONNECTIONS": "8",
            "CROSSFADE_GIVE_WAY_SECONDS": "0.05",
            "CROSSFADE_LOG_LEVEL": "warning",
        }
        with (self._folder / f"registry-{index}.log").open("ab") as log:
            self._processes[index] = await asyncio.create_subprocess_exec(
                *self._command, env={**os.environ, **settings}, stdout=log, stderr=log
            )

    async def until_all_answer(self, seconds: float = 60.0) -> None:
        """Waits until each of them answers."""
        async with asyncio.timeout(seconds):
            if self._ending is not None:
                await self._ending
            for stub in self.stubs:
                while True:
                    try:
                        await stub.ListModels(service_pb2.ListModelsRequest(), timeout=2)
                        break
                    except grpc.RpcError:
                        await asyncio.sleep(0.1)
                        await self._revive()

    async def kill(self, index: int) -> None:
        """Kills one with SIGKILL, and starts it again."""
        process = self._processes[index]
        assert process is not None
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.wait()
            self.kills += 1
        await self._start(index)

    async def _revive(self) -> None:
        """Starts those again that have ended by themselves: whose connection was cut while they started."""
        for index, process in enumerate(self._processes):
            if process is not None and process.returncode is not None:
                await self._start(index)

    async def _end_database(self, crash: Callable[[], None]) -> None:
        """Crashes the database, and starts those again that have ended since it did not answer them at their start."""
        await asyncio.to_thread(crash)
        self.crashes += 1
        await self._revive()

    async def harass(self, rng: random.Random, every_seconds: float) -> None:
        """Kills one now and then, or the database, and cuts connections in between, until it is cancelled."""
        troubles = 0
        while True:
            for _ in range(rng.randint(2, 5)):
                await asyncio.sleep(rng.uniform(0.2, every_seconds / 3))
                # The database may be harassed as well, by others.
                with contextlib.suppress(psycopg.OperationalError):
                    self.cuts += await asyncio.to_thread(self._sessions.end, rng.random() / 2)
            troubles += 1
            if self._crash is not None and troubles % _CRASHES == 0:
                ending = self._end_database(self._crash)
            else:
                ending = self.kill(rng.randrange(len(self.addresses)))
            # Who is ended is started again, even if this is cancelled in between.
            self._ending = asyncio.create_task(ending)
            await asyncio.shield(self._ending)

    async def until_quiet(self) -> None:
        """Waits until the database carries nothing out any more."""
        await until_quiet(self._sessions)

    async def stop(self) -> None:
        """Ends all."""
        for channel in self._channels:
            await channel.close()
        for process in self._processes:
            if process is not None and process.returncode is None:
                process.kill()
                await process.wait()
