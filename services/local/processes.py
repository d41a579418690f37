"""One service as a child process: its environment, its log, its health, its end."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from crossfade.proxies import NO_PROXY
from services.local import leash

_POLL_SECONDS: Final = 0.05
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 20.0
_RESTART_SECONDS: Final = 1.0
_AGAIN_SECONDS: Final = 5.0
_SHOWN_LINES: Final = 12
# A Ctrl-C in the terminal is for the parent, which ends its services in order; when the parent is killed instead, the
# kernel tells them to end.
_LEASHED: Final = (sys.executable, "-I", "-S", leash.__file__)


class StartError(Exception):
    """A service did not start; the message holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Service:
    """How a service is started.

    Attributes:
        name: `registry`, `router`, `worker` or `evaluator`.
        module: what `python -m` runs.
        address: host:port that it listens on.
        environment: its settings, beside those of this process.
        log: file that its standard error is appended to.
    """

    name: str
    module: str
    address: str
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)


class ServiceProcess:
    """A running service.

    Args:
        service: what to run.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self._process: asyncio.subprocess.Process | None = None
        self._log_begins = 0

    @property
    def pid(self) -> int:
        """The process's id.

        Raises:
            RuntimeError: it was not started.
        """
        if self._process is None:
            raise RuntimeError(f"{self.service.name} was not started")
        return self._process.pid

    async def start(self) -> None:
        """Starts the process; does not wait for it."""
        self.service.log.parent.mkdir(parents=True, exist_ok=True)
        with self.service.log.open("ab") as log:
            self._log_begins = log.tell()
            self._process = await asyncio.create_subprocess_exec(
                *_LEASHED,
                str(os.getpid()),
                sys.executable,
                "-m",
                self.service.module,
                env=_environment(self.service),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def ready(self) -> None:
        """Waits until the service's health is SERVING.

        Raises:
            StartError: it ended, or was not ready in a minute.
        """
        async with grpc.aio.insecure_channel(self.service.address, options=NO_PROXY) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            for _ in range(int(_START_SECONDS / _POLL_SECONDS)):
                if self.exit_code is not None:
                    ended = f"{self.service.name} ended as it started, with code {self.exit_code}"
                    raise StartError(f"{ended}:\n{self._last_lines()}")
                try:
                    answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=1)
                except grpc.aio.AioRpcError:
                    pass
                else:
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return
                await asyncio.sleep(_POLL_SECONDS)
        raise StartError(f"{self.service.name} was not ready in {_START_SECONDS:.0f} s:\n{self._last_lines()}")

    @property
    def exit_code(self) -> int | None:
        """How the process ended; None: it runs."""
        return None if self._process is None else self._process.returncode

    async def wait(self) -> int:
        """Waits for the process's end and answers its exit code."""
        if self._process is None:
            raise RuntimeError(f"{self.service.name} was not started")
        return await self._process.wait()

    async def keep(self, say: Callable[[str], None]) -> None:
        """Starts it again whenever it has ended, until this is cancelled.

        Args:
            say: gets a line for people each time.
        """
        name, log = self.service.name, self.service.log
        while True:
            code = await self.wait()
            say(f"{name} ended with code {code} and is started again; its log is {log}")
            await asyncio.sleep(_RESTART_SECONDS)
            while True:
                try:
                    await self.start()
                    break
                except OSError as error:
                    # No memory for a process, or no room for its log: there may be later.
                    say(f"{name} cannot be started ({error}), and is tried again in {_AGAIN_SECONDS:.0f} s")
                    await asyncio.sleep(_AGAIN_SECONDS)

    def kill(self) -> None:
        """SIGKILL, for those who want to see what happens."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def stop(self) -> None:
        """Ends the process in order, and by force when it takes too long."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def _last_lines(self) -> str:
        # Not what an earlier process had to say.
        lines = self.service.log.read_bytes()[self._log_begins :].decode(errors="replace").splitlines()
        return "\n".join(lines[-_SHOWN_LINES:]) or "(it wrote nothing)"


def _environment(service: Service) -> dict[str, str]:
    """This process's environment with the service's settings; those of a user of another deployment stay out."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("CROSSFADE_")}
    return {**ours, **service.environment}


async def run_once(service: Service, *arguments: str) -> None:
    """Runs a service's module with arguments until it ends.

    Raises:
        StartError: it ended with an error; the message is what it said.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        service.module,
        *arguments,
        env=_environment(service),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, said = await process.communicate()
    except asyncio.CancelledError:
        # What it works on, the database, ends next.
        process.terminate()
        await process.wait()
        raise
    if process.returncode:
        raise StartError(said.decode(errors="replace").strip() or f"{service.name} {' '.join(arguments)} failed")
