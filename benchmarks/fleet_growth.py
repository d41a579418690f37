"""A fleet of thousands of models beside one of twenty: what grows with it, and what stays flat.

Two Registries on one PostgreSQL, each with a database of its own: 20 models on 2 Workers, and 2,000 on 200. Calls go to
either in turn. And two Routers' tables of as many lanes, in this process. `python -m benchmarks.fleet_growth`; the last
line is a JSON object.
"""

import asyncio
import contextlib
import itertools
import json
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table as Shown

from benchmarks import watching
from benchmarks.alternating import Call, alternate
from benchmarks.registries import Stub, new_id, pause_or_resume, publish, registry
from crossfade.common.v1 import model_pb2
from crossfade.registry.v1 import resources_pb2, service_pb2
from registry.migrating import migrate_database
from registry.settings import RegistrySettings
from router.routes import TableMaker
from router.routing import choose
from router.table import Key, Table
from services.local.postgres import Postgres

_SIZES: Final = {"few": 20, "many": 2_000}
"""Models."""
_ON_ONE: Final = 10
"""Models on one Worker."""
_AT_ONCE: Final = 8
_TTL_SECONDS: Final = 600
_ROLLOUT: Final = "models/m0/rollouts/1"
_CHANGES: Final = 200
_TIMES: Final = 20_000
_CLASSES: Final = [f"class {number}" for number in range(10)]


def main() -> None:
    """Measures and prints."""
    milliseconds = asyncio.run(_registries())
    milliseconds |= {name: {size: 1e3 * seconds for size, seconds in one.items()} for name, one in _routers().items()}
    shown = Shown("what", *(f"{models:,} models: ms" for models in _SIZES.values()), "x")
    growth = {}
    for name, taken in milliseconds.items():
        few, many = (taken[size] for size in _SIZES)
        growth[name] = round(many / few, 2)
        shown.add_row(name, f"{few:.4g}", f"{many:.4g}", f"{many / few:.2f}")
    Console().print(shown)
    # Whoever begins to watch gets every lane.
    snapshot = growth.pop("watch_begin")
    print(json.dumps({"growth": growth, "worst": max(growth.values()), "watch_begin": snapshot}))


async def _registries() -> dict[str, dict[str, float]]:
    """Medians of what calls take, milliseconds."""
    with tempfile.TemporaryDirectory() as folder, Postgres(Path(folder) / "postgres") as server:
        async with contextlib.AsyncExitStack() as stack:
            stubs = {}
            for name, models in _SIZES.items():
                server.create_database(name)
                migrate_database(RegistrySettings(database=server.url(name)), check_only=False)
                stubs[name] = await stack.enter_async_context(registry(server.url(name)))
                await _fill(stubs[name], models)
            taken = {name: await alternate(stubs, call) for name, call in _calls().items()}
    return {call: {size: 1e3 * statistics.median(of) for size, of in one.items()} for call, one in taken.items()}


async def _fill(stub: Stub, models: int) -> None:
    """Models that Workers serve, the first with a rollout."""
    names = iter([f"m{number}" for number in range(models)])

    async def make() -> None:
        for name in names:
            await stub.CreateModel(service_pb2.CreateModelRequest(model_id=name, request_id=new_id()))
            await publish(stub, name)

    await asyncio.gather(*(make() for _ in range(_AT_ONCE)))
    for worker in range(models // _ON_ONE):
        await _report(stub, worker, 1)
    await publish(stub, "m0")
    await _report(stub, 0, 1, "v2")


async def _report(stub: Stub, worker: int, port: int, *further: str) -> None:
    """What a Worker serves: the stable versions of its models, and further ones of its first."""
    first = worker * _ON_ONE
    kinds = [(f"m{number}", "v1", model_pb2.TRAFFIC_LIVE) for number in range(first, first + _ON_ONE)]
    kinds += [(f"m{first}", version, model_pb2.TRAFFIC_LIVE) for version in further]
    kinds += [(f"m{first}", "v1", model_pb2.TRAFFIC_CONTROL) for _ in further]
    # Of one model alone the process is another one.
    places = [f"127.0.0.1:{port if model == f'm{first + 1}' else 1}" for model, _, _ in kinds]
    instance = resources_pb2.Instance(
        instance_id=str(uuid.UUID(int=worker)),
        kind=resources_pb2.INSTANCE_KIND_WORKER,
        address="127.0.0.1:1",
        serving=[
            resources_pb2.Serving(
                model=model,
                version=version,
                traffic=traffic,
                address=place,
                state=resources_pb2.SERVING_STATE_READY,
            )
            for (model, version, traffic), place in zip(kinds, places, strict=True)
        ],
    )
    request = service_pb2.ReportInstanceRequest(instance=instance)
    request.ttl.seconds = _TTL_SECONDS
    await stub.ReportInstance(request)


def _calls() -> dict[str, Call]:
    ports = itertools.count(2)

    async def resume(stub: Stub) -> None:
        # The first calls have made enough changes of the routes.
        await watching.resume(stub, latest[stub])

    async def begin(stub: Stub) -> None:
        latest[stub] = await watching.revision(stub)

    latest: dict[Stub, int] = {}
    return {
        "get_model": lambda stub: stub.GetModel(service_pb2.GetModelRequest(name="models/m7")),
        "list_models": lambda stub: stub.ListModels(service_pb2.ListModelsRequest(page_size=20)),
        "transition": lambda stub: pause_or_resume(stub, _ROLLOUT),
        "renew_lease": lambda stub: _report(stub, 1, 1),
        "report_change": lambda stub: _report(stub, 1, next(ports)),
        "watch_begin": begin,
        "watch_resume": resume,
    }


def _routers() -> dict[str, dict[str, float]]:
    """What a Router's table takes, seconds."""
    routers = {name: _Router(models) for name, models in _SIZES.items()}
    changes: dict[str, list[float]] = {name: [] for name in routers}
    for turn in range(_CHANGES):
        for name in sorted(routers, reverse=turn % 2 == 1):
            changes[name].append(_seconds(routers[name].change))
    return {
        "router_change": {name: statistics.median(taken) for name, taken in changes.items()},
        "router_choice": {name: _each(router.choice) for name, router in routers.items()},
        "router_label": {name: _each(router.label) for name, router in routers.items()},
    }


class _Router:
    """Its table, of so many lanes."""

    def __init__(self, lanes: int) -> None:
        self._maker = TableMaker()
        self._routes: dict[Key, resources_pb2.LaneRoutes] = {}
        self._epochs = itertools.count(1)
        self._table = Table()
        for number in range(lanes):
            self._routes[f"m{number}", ""] = _routes(f"m{number}", next(self._epochs))
        self.change()

    def change(self) -> None:
        """The next table, in which one lane is another."""
        self._routes["m7", ""] = _routes("m7", next(self._epochs))
        self._table = self._maker.make(self._table.revision + 1, self._routes, self._table, 0.0, 0.0)

    def choice(self) -> None:
        """Where one call goes."""
        choose(self._table, "m7", "", "", "", lambda: 0.5)

    def label(self) -> None:
        """Which classes a label is one of."""
        self._table.classes("m7", "v1")


def _routes(model: str, epoch: int) -> resources_pb2.LaneRoutes:
    endpoints = [resources_pb2.Endpoint(instance_id="w", address="127.0.0.1:1")]
    return resources_pb2.LaneRoutes(
        model=model,
        epoch=epoch,
        arms=[resources_pb2.RouteArm(arm="stable", version="v1", share_bps=10_000, endpoints=endpoints)],
        wanted=[
            resources_pb2.WantedVersion(
                version="v1", endpoints=endpoints, signature=model_pb2.Signature(classes=_CLASSES)
            )
        ],
        stable_version="v1",
    )


def _each(work: Callable[[], None]) -> float:
    """What one takes, of many."""

    def many() -> None:
        for _ in _times():
            work()

    return _seconds(many) / _TIMES


def _times() -> Iterator[None]:
    return itertools.repeat(None, _TIMES)


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
