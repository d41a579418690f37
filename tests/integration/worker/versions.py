"""Processes of versions, spoken to as the supervisor does."""

import time
from pathlib import Path
from typing import Any

from services.common.prediction_token import TokenKeys
from services.worker.credentials import Credentials
from services.worker.domain import Context, LaneContext, ServingKey, Traffic
from services.worker.pipes import messages
from services.worker.process_config import ChildConfig
from services.worker.settings import WorkerSettings
from services.worker.supervisor.ports import Ports
from services.worker.supervisor.process import ForkServer, VersionProcess

HOST = "127.0.0.1"
TOLD = messages.Tell(Context((LaneContext("", 7, 60.0),)), ())
"""What it has to know before it serves."""


class Versions:
    """Starts processes of one artifact."""

    def __init__(self, artifact: Path, token_keys: Path) -> None:
        self.ports = Ports(HOST, HOST)
        self.processes: list[VersionProcess] = []
        self._artifact = artifact
        self.credentials = Credentials(TokenKeys.parse(token_keys.read_text()))
        self._settings = WorkerSettings(token_keys=token_keys, version_threads=1)
        self.forks = ForkServer(threads=1)

    async def start(
        self,
        version: str,
        address: str = "",
        folder: Path | None = None,
        front_ends: int = 2,
        otlp_endpoint: str = "",
        cores: frozenset[int] = frozenset(),
        pinned: tuple[int, ...] = (),
    ) -> VersionProcess:
        """Starts the process of a version."""
        key = ServingKey("scores", version, Traffic.LIVE)
        settings = self._settings.model_copy(update={"front_ends": front_ends, "otlp_endpoint": otlp_endpoint})
        address = address or self.ports.listen_address(key)
        config = ChildConfig(
            key=key,
            folder=folder or self._artifact,
            address=address,
            settings=settings,
            instance_id="worker",
            ordered_at=time.monotonic(),
            credentials=self.credentials,
            cores=cores,
            pinned=pinned,
        )
        process = await self.forks.start(config)
        self.processes.append(process)
        return process

    async def ready(self, version: str, **options: Any) -> VersionProcess:
        """Starts the process of a version, and waits until it serves; `options`: as of `start`."""
        process = await self.start(version, **options)
        process.link.send(TOLD)
        assert isinstance(await first_word(process), messages.Ready)
        return process

    def address(self, version: str) -> str:
        """Where it is called."""
        return self.ports.advertised_address(ServingKey("scores", version, Traffic.LIVE))


async def first_word(process: VersionProcess) -> messages.Message:
    """What it says first."""
    return (await anext(process.link.reports()))[0]
