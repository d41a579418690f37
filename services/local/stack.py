"""All services on one machine: PostgreSQL, Registry, Worker, Router, Evaluator, started in their order."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from services.common.ports import free_port
from services.common.server import AddressError, check_free
from services.local.folder import DataFolder
from services.local.postgres import Postgres
from services.local.processes import Service, ServiceProcess, StartError, run_once

_CLIENTS: Final = ("worker", "router", "evaluator")
NAMES: Final = ("registry", *_CLIENTS)
MODULES: Final = {"registry": "registry", "worker": "services.worker", "router": "router", "evaluator": "evaluator"}
"""What `python -m` runs of each service."""
_DATABASE: Final = "crossfade"
_OTHER_PORTS: Final = (
    "choose others with --port N, which gives the Router port N, and the others N − 100, N + 100 and N + 200"
)
_PORT_TRIES: Final = 10
_PORT_SECONDS: Final = 0.5
_DATABASE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports on 127.0.0.1."""

    registry: int = 8400
    router: int = 8500
    worker: int = 8600
    evaluator: int = 8700

    @classmethod
    def free(cls) -> Self:
        """Ports that nobody listens on at this moment."""
        ports: set[int] = set()
        while len(ports) < len(NAMES):
            ports.add(free_port())
        return cls(*ports)

    def address(self, name: str) -> str:
        """host:port of a service."""
        return f"127.0.0.1:{getattr(self, name)}"


@dataclass(frozen=True, slots=True)
class StackOptions:
    """How the services are to run.

    Attributes:
        folder: the data folder.
        ports: where they listen.
        environment: further settings of all services, as CROSSFADE_… variables.
        restart: start a service again that ended by itself.
        say: gets a line for people at each step.
    """

    folder: Path
    ports: Ports = Ports()
    environment: Mapping[str, str] = field(default_factory=dict)
    restart: bool = True
    say: Callable[[str], None] = lambda _: None


class Stack:
    """The services of one data folder, as an asynchronous context manager.

    Args:
        options: how they are to run.
    """

    def __init__(self, options: StackOptions) -> None:
        self._options = options
        self._folder = DataFolder(options.folder)
        self._exits = AsyncExitStack()
        self._watchers: list[asyncio.Task[None]] = []
        self.processes: dict[str, ServiceProcess] = {}
        self.failed = asyncio.Event()
        """Set when the stack cannot go on: its database has ended."""

    async def __aenter__(self) -> Self:
        """Starts everything; ends what it started when something fails.

        Raises:
            AddressError: a port is in use.
            FolderInUseError: another stack uses the folder.
            PostgresError: the database does not start.
            StartError: a service does not start; the message holds the end of its log.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _start(self) -> None:
        # Another stack on the folder says more than its ports do; but a refusal leaves no folder where there was none.
        if self._folder.was_used:
            self._exits.enter_context(self._folder)
            await self._until_all_free()
        else:
            await self._until_all_free()
            self._exits.enter_context(self._folder)
        postgres = Postgres(self._folder.database)
        self._exits.push_async_callback(asyncio.to_thread, postgres.stop)
        await _whole(postgres.start)
        await _whole(partial(postgres.create_database, _DATABASE))
        self._watchers.append(asyncio.create_task(self._watch_database(postgres)))
        self._options.say("PostgreSQL is up")
        services = {name: self._service(name, postgres.url(_DATABASE)) for name in NAMES}
        await run_once(services["registry"], "migrate")
        await self._run(services["registry"])
        await asyncio.gather(*(self._run(services[name]) for name in _CLIENTS))

    async def _until_all_free(self) -> None:
        for name in NAMES:
            await self._until_free(self._options.ports.address(name))

    @staticmethod
    async def _until_free(address: str) -> None:
        """Gives services of a stack that was killed the time to end.

        Raises:
            AddressError: the port stays in use.
        """
        for _ in range(_PORT_TRIES):
            try:
                return check_free(address)
            except AddressError:
                await asyncio.sleep(_PORT_SECONDS)
        return check_free(address, _OTHER_PORTS)

    async def _watch_database(self, postgres: Postgres) -> None:
        while postgres.running:
            await asyncio.sleep(_DATABASE_SECONDS)
        self._options.say(f"PostgreSQL ended by itself; its log is in {self._folder.database}")
        self.failed.set()

    async def _run(self, service: Service) -> None:
        process = self.processes[service.name] = ServiceProcess(service)
        await process.start()
        await process.ready()
        self._options.say(f"{service.name} is up at {service.address}")
        if self._options.restart:
            self._watchers.append(asyncio.create_task(process.keep(self._options.say)))

    def _service(self, name: str, database_url: str) -> Service:
        ports = self._options.ports
        environment = {
            "CROSSFADE_LISTEN": ports.address(name),
            "CROSSFADE_REGISTRY": ports.address("registry"),
            "CROSSFADE_TOKEN_KEYS": str(self._folder.token_keys),
            "CROSSFADE_DATABASE": database_url,
            "CROSSFADE_ARTIFACT_CACHE": str(self._folder.cache),
            "CROSSFADE_TABLE_FILE": str(self._folder.routes),
            **self._options.environment,
        }
        return Service(name, MODULES[name], ports.address(name), self._folder.logs / f"{name}.log", environment)

    async def stop(self) -> None:
        """Ends the services, last started first, then PostgreSQL."""
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        self._watchers.clear()
        # The Registry ends last, so that the others can end their leases.
        await asyncio.gather(*(self.processes[name].stop() for name in _CLIENTS if name in self.processes))
        if "registry" in self.processes:
            await self.processes["registry"].stop()
        self.processes.clear()
        await self._exits.aclose()


async def _whole(step: Callable[[], None]) -> None:
    """Takes a step in a thread, and waits for its end also when it is given up: what it has done is undone next."""
    taking = asyncio.ensure_future(asyncio.to_thread(step))
    try:
        await asyncio.shield(taking)
    except asyncio.CancelledError:
        await asyncio.wait({taking})
        raise


__all__ = ["Ports", "Stack", "StackOptions", "StartError"]
