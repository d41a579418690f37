"""A Router whose Registry is away, and that serves the table which lies on its disk."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from benchmarks.served import Way, free_address, token_keys
from crossfade.registry.v1 import resources_pb2, service_pb2


def serve_table(stack: ExitStack, folder: Path, lane: resources_pb2.LaneRoutes) -> Way:
    """Starts a Router with that lane; it ends with `stack`. `folder`: its own."""
    folder.mkdir(exist_ok=True)
    table = folder / "table.pb"
    snapshot = service_pb2.WatchRoutesResponse(revision=1, snapshot=True, lanes=[lane])
    table.write_bytes(snapshot.SerializeToString())
    address = free_address()
    settings = {
        "CROSSFADE_LISTEN": address,
        "CROSSFADE_REGISTRY": free_address(),
        "CROSSFADE_TABLE_FILE": str(table),
        "CROSSFADE_TOKEN_KEYS": str(token_keys(folder)),
        "CROSSFADE_LOG_LEVEL": "error",
    }
    return Way(address, start(stack, [sys.executable, "-m", "router"], settings))


def start(stack: ExitStack, command: list[str], settings: dict[str, str]) -> int:
    """Starts a process that ends with `stack`, and answers its id; `settings`: of its environment."""
    process = subprocess.Popen(command, env={**os.environ, **settings}, stdin=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return process.pid


def arm(name: str, version: str, share_bps: int, address: str) -> resources_pb2.RouteArm:
    """Of a version that one process serves."""
    endpoint = resources_pb2.Endpoint(instance_id=version, address=address)
    return resources_pb2.RouteArm(arm=name, version=version, share_bps=share_bps, endpoints=[endpoint])
