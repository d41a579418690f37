"""What a version's process is started with."""

from dataclasses import dataclass
from pathlib import Path

from services.worker.credentials import Credentials
from services.worker.domain import ServingKey
from services.worker.settings import WorkerSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildConfig:
    """What a process is started with.

    Attributes:
        key: what it serves.
        folder: the verified artifact.
        address: host:port to listen on.
        settings: the Worker's.
        instance_id: the Worker's.
        ordered_at: when loading was ordered, by the machine's monotonic clock.
        credentials: what it signs and serves with.
        cores: the processors that it runs on; empty: any.
        pinned: the one that each front-end stays on; empty: they move.
    """

    key: ServingKey
    folder: Path
    address: str
    settings: WorkerSettings
    instance_id: str
    ordered_at: float
    credentials: Credentials
    cores: frozenset[int] = frozenset()
    pinned: tuple[int, ...] = ()
