"""A Registry that has seen years beside one of a day: what grows, and what stays flat.

Two Registries on one PostgreSQL, each with a database of its own: a model with 10 versions and 1,000 events, and one
with 10,000 and 1,000,000. Calls go to either in turn: questions, a rollout that is paused and resumed, and rollouts
that move versions, each from its publication to its promotion or its rollback. `python -m benchmarks.registry_growth`;
the last line is a JSON object.
"""

import asyncio
import contextlib
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks import watching
from benchmarks.alternating import ROUNDS, WARM_UP, Call, alternate
from benchmarks.dsn import dsn
from benchmarks.grown import grow
from benchmarks.registries import Stub, new_id, pause_or_resume, publish, registry, report_ready, running
from crossfade.registry.v1 import resources_pb2, service_pb2
from registry.migrating import migrate_database
from registry.settings import RegistrySettings
from services.local.postgres import Postgres

_SIZES: Final = {"young": (10, 1_000), "old": (10_000, 1_000_000)}
"""Versions and events."""
_ID: Final = "m"
_MODEL: Final = f"models/{_ID}"
_ROLLOUT: Final = f"{_MODEL}/rollouts/1"


def main() -> None:
    """Measures and prints."""
    asyncio.run(_measure())


async def _measure() -> None:
    with tempfile.TemporaryDirectory() as folder, Postgres(Path(folder) / "postgres") as server:
        for name, (versions, events) in _SIZES.items():
            server.create_database(name)
            await _fill(server.url(name), versions, events)
        async with contextlib.AsyncExitStack() as stack:
            stubs = {name: await stack.enter_async_context(registry(server.url(name))) for name in _SIZES}
            seconds = {name: await alternate(stubs, call) for name, call in _CALLS.items()}
            seconds |= await _move(stubs)
    table = Table(
        "call", *(f"{versions:,} versions, {events:,} events: ms" for versions, events in _SIZES.values()), "x"
    )
    growth = {}
    for name, taken in seconds.items():
        young, old = (statistics.median(taken[size]) for size in _SIZES)
        growth[name] = round(old / young, 2)
        table.add_row(name, f"{young * 1e3:.2f}", f"{old * 1e3:.2f}", f"{old / young:.2f}")
    Console().print(table)
    print(json.dumps({"growth": growth, "worst": max(growth.values())}))


async def _fill(database: str, versions: int, events: int) -> None:
    migrate_database(RegistrySettings(database=database), check_only=False)
    async with registry(database) as stub:
        await running(stub, _ID)
    await asyncio.to_thread(_grow, database, versions, events)


def _grow(database: str, versions: int, events: int) -> None:
    grow(database, _ID, versions=versions, events=events)
    with psycopg.connect(dsn(database), autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


async def _move(stubs: "dict[str, Stub]") -> dict[str, dict[str, list[float]]]:
    """Rollouts that move versions: how long their publications, their promotions and their rollbacks take."""
    taken: dict[str, dict[str, list[float]]] = {
        call: {name: [] for name in stubs} for call in ("publish", "promote", "rollback")
    }
    lanes = {name: _Lane(stub) for name, stub in stubs.items()}
    for lane in lanes.values():
        await lane.free()
    for turn in range(-WARM_UP, ROUNDS):
        for ending in ("promote", "rollback"):
            for name in sorted(stubs, reverse=turn % 2 == 1):
                published, ended = await lanes[name].cycle(ending)
                if turn >= 0:
                    taken["publish"][name].append(published)
                    taken[ending][name].append(ended)
    return taken


class _Lane:
    """A lane in which one version after the other has its rollout.

    Args:
        stub: of its Registry.
    """

    def __init__(self, stub: Stub) -> None:
        self._stub = stub
        self._worker = new_id()
        self._stable = "v1"

    async def free(self) -> None:
        """Ends the rollout that it was made with."""
        rollout = await self._stub.GetRollout(service_pb2.GetRolloutRequest(name=_ROLLOUT))
        await self._end("rollback", rollout)

    async def cycle(self, ending: str) -> tuple[float, float]:
        """A rollout from its publication to its end; how many seconds the two took."""
        began = time.perf_counter()
        published = await publish(self._stub, _ID)
        seconds = time.perf_counter() - began
        version = published.version.name.rpartition("/")[2]
        await report_ready(self._stub, _ID, self._worker, self._stable, version, control=self._stable)
        rollout = await self._stub.GetRollout(service_pb2.GetRolloutRequest(name=published.rollout.name))
        began = time.perf_counter()
        await self._end(ending, rollout)
        ended = time.perf_counter() - began
        self._stable = version if ending == "promote" else self._stable
        return seconds, ended

    async def _end(self, ending: str, rollout: resources_pb2.Rollout) -> None:
        request_id = new_id()
        if ending == "promote":
            await self._stub.PromoteRollout(
                service_pb2.PromoteRolloutRequest(
                    name=rollout.name, etag=rollout.etag, request_id=request_id, force=True
                )
            )
        else:
            await self._stub.RollbackRollout(
                service_pb2.RollbackRolloutRequest(name=rollout.name, etag=rollout.etag, request_id=request_id)
            )


async def _get_model(stub: Stub) -> None:
    await stub.GetModel(service_pb2.GetModelRequest(name=_MODEL))


async def _list_versions(stub: Stub) -> None:
    page = await stub.ListVersions(service_pb2.ListVersionsRequest(parent=_MODEL, page_size=5))
    await stub.ListVersions(
        service_pb2.ListVersionsRequest(parent=_MODEL, page_size=5, page_token=page.next_page_token)
    )


async def _list_events(stub: Stub) -> None:
    page = await stub.ListEvents(service_pb2.ListEventsRequest(parent=_MODEL, page_size=50))
    await stub.ListEvents(service_pb2.ListEventsRequest(parent=_MODEL, page_size=50, page_token=page.next_page_token))


async def _transition(stub: Stub) -> None:
    await pause_or_resume(stub, _ROLLOUT)


async def _resume(stub: Stub) -> None:
    await watching.resume(stub, await watching.revision(stub))


_CALLS: Final[dict[str, Call]] = {
    "get_model": _get_model,
    "list_versions": _list_versions,
    "list_events": _list_events,
    "transition": _transition,
    "watch_resume": _resume,
}


if __name__ == "__main__":
    main()
