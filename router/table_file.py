"""The last table on disk, so that a Router that starts while the Registry is away still serves."""

import os
from pathlib import Path

from google.protobuf.message import DecodeError

from crossfade.registry.v1 import service_pb2


def save(path: Path, snapshot: service_pb2.WatchRoutesResponse) -> None:
    """Replaces the file in one step: a reader sees the old or the new table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(snapshot.SerializeToString())
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load(path: Path) -> service_pb2.WatchRoutesResponse | None:
    """The snapshot on disk; None: there is none, or it is damaged."""
    try:
        snapshot = service_pb2.WatchRoutesResponse.FromString(path.read_bytes())
    except (FileNotFoundError, DecodeError):
        return None
    return snapshot if snapshot.snapshot else None
