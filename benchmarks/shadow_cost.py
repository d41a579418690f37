"""What callers pay for a SHADOW step: a Router that mirrors nothing beside those that mirror.

Stable answers all of them. One mirrors a fifth of its calls to a version alike, one all of them, and one all of them to
a version that takes many times as long for each. 100 calls a second, so that the processors are idle in between: copies
run on them too. By h2load, Debian's nghttp2-client. `python -m benchmarks.shadow_cost`; the last line is a JSON object.
"""

import asyncio
import json
import tempfile
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks import h2load
from benchmarks.load import METHOD, Load
from benchmarks.served import Way, answered, package_net, request, serve, token_keys, until_serving
from benchmarks.standing_router import arm, serve_table
from benchmarks.turns import Rounds, paired, take_turns, typical
from crossfade.registry.v1 import resources_pb2
from services.worker.settings import WorkerSettings
from services.worker.supervisor.process import ForkServer

_PER_SECOND: Final = 100
_SECONDS: Final = 5
_ROUNDS: Final = 7
_NOTHING: Final = "nothing"
_WAYS: Final = ((_NOTHING, 0, "mlp"), ("a fifth", 2_000, "mlp"), ("all", 10_000, "mlp"), ("all, slow", 10_000, "wide"))
"""What a Router mirrors, the share in basis points, and the network of the version that gets it."""


def main() -> None:
    """Measures and prints."""
    if not h2load.available():
        raise SystemExit("h2load is not installed: apt-get install nghttp2-client")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        asyncio.run(_measure(ForkServer(1), stack, folder))


async def _measure(forks: ForkServer, stack: ExitStack, folder: Path) -> None:
    settings = WorkerSettings(version_threads=1, token_keys=token_keys(folder))
    nets = {name: package_net(folder / name, name) for name in ("mlp", "wide")}
    async with AsyncExitStack() as served:
        stable = await served.enter_async_context(serve(forks, nets["mlp"], settings))
        routers: dict[str, Way] = {}
        tests: dict[str, Way] = {}
        for number, (name, share, net) in enumerate(_WAYS):
            test = await served.enter_async_context(serve(forks, nets[net], settings, version="v2"))
            await until_serving(test.address)
            tests[name] = test
            routers[name] = serve_table(stack, folder / f"router{number}", _lane(stable.address, test.address, share))
        for way in (stable, *routers.values()):
            await until_serving(way.address)
        rounds = await take_turns(routers, _ROUNDS, _calls)
        mirrored = {name: await answered(way) for name, way in tests.items()}
    _print(rounds, mirrored)


def _lane(stable: str, test: str, share_bps: int) -> resources_pb2.LaneRoutes:
    arms = [arm("control", "v1", share_bps, stable), arm("stable", "v1", 10_000 - share_bps, stable)]
    shadow = arm("test", "v2", share_bps, test)
    lane = resources_pb2.LaneRoutes(model="mlp", epoch=1, stable_version="v1", test_version="v2")
    lane.arms.extend(one for one in arms if one.share_bps)
    for one in (arms[1], shadow):
        lane.wanted.add(version=one.version, endpoints=one.endpoints)
    if share_bps:
        lane.shadow.CopyFrom(shadow)
    return lane


async def _calls(way: Way) -> Load:
    return await h2load.paced(way.address, METHOD, request(), _PER_SECOND, _SECONDS)


def _print(rounds: Rounds, mirrored: dict[str, int]) -> None:
    table = Table("mirrored", "p50 ms", "p99 ms", "p50, times", "p99, times", "failed", "copies answered")
    result: dict[str, float] = {}
    for name, loads in rounds.items():
        one = typical(loads)
        p50, p99 = paired(rounds, name, _NOTHING, _median), paired(rounds, name, _NOTHING, _slowest)
        times = (f"{p50:.2f}", f"{p99:.2f}", str(one.failed), str(mirrored[name]))
        table.add_row(name, f"{one.p50 * 1e3:.2f}", f"{one.p99 * 1e3:.2f}", *times)
        at = name.replace(", ", "_").replace(" ", "_")
        result |= {f"{at}_p50_ms": round(one.p50 * 1e3, 2), f"{at}_p99_ms": round(one.p99 * 1e3, 2)}
        result |= {f"{at}_p50_times": round(p50, 2), f"{at}_p99_times": round(p99, 2), f"{at}_copies": mirrored[name]}
    Console().print(table)
    print(json.dumps(result))


def _median(one: Load, base: Load) -> float:
    return one.p50 / base.p50


def _slowest(one: Load, base: Load) -> float:
    return one.p99 / base.p99


if __name__ == "__main__":
    main()
