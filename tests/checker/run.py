"""Harasses Registries, and proves that nothing went wrong.

`python -m tests.checker.run DATABASE --seconds 60 --seed 0`, on a database that is migrated and has no model.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.checker.clients import KINDS, Client
from tests.checker.journal import Told
from tests.checker.replay import Replay
from tests.checker.replicas import Replicas
from tests.checker.tables import read_tables
from tests.checker.verdict import find
from tests.checker.watched import find_watched
from tests.checker.watchers import Watcher
from tests.checker.workers import report_ready

MODELS = ["a", "b", "c"]
CLIENTS = 30
WATCHERS = 4
WORKERS = 2
CAUGHT_UP_SECONDS = 20.0
"""For watches, when nothing is written any more."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a run came to.

    Attributes:
        found: everything that is against the rules.
        told: how many operations ended how, of those that had something to do.
        types: how many events of which type there are in the ledgers.
        revisions: of the routes.
        resumed: how often a watch was resumed.
        kills: of replicas.
        cuts: of database connections.
        crashes: of the database.
    """

    found: list[str]
    told: Counter[str]
    types: Counter[str]
    revisions: int
    resumed: int
    kills: int
    cuts: int
    crashes: int


async def check(
    database: str,
    seconds: float,
    seed: int,
    *,
    each: int = 0,
    longest: float = 0.0,
    module: str = "registry",
    arguments: tuple[str, ...] = (),
    crash: Callable[[], None] | None = None,
) -> Report:
    """Lets clients loose on replicas that are killed, as a database may be, and holds the outcome against the rules.

    Args:
        database: URL.
        seconds: for how long.
        seed: of what they do.
        each: they go on until every kind of operation has succeeded so often, if it takes longer.
        longest: seconds after which they do not, since it was too long.
        module: what runs as a replica.
        arguments: of the module.
        crash: crashes the database and starts it again; None: it is left alone.
    """
    with tempfile.TemporaryDirectory(prefix="checker-") as folder:
        replicas = Replicas(database, Path(folder), module=module, arguments=arguments, crash=crash)
        try:
            await replicas.start()
            return await _check(replicas, database, seed, _Bounds(time.monotonic(), seconds, each, longest))
        finally:
            await replicas.stop()


async def _check(replicas: Replicas, database: str, seed: int, bounds: "_Bounds") -> Report:
    for model in MODELS:
        request = service_pb2.CreateModelRequest(model_id=model, request_id=str(uuid.uuid4()))
        await replicas.stubs[0].CreateModel(request)
    clients = [Client(number, replicas, MODELS, seed) for number in range(CLIENTS)]
    watchers = [Watcher(number, replicas.stubs, seed) for number in range(WATCHERS)]
    watches = [asyncio.create_task(watcher.run()) for watcher in watchers]
    troubles = [
        asyncio.create_task(replicas.harass(random.Random(seed), every_seconds=3.0)),
        *(asyncio.create_task(report_ready(replicas, MODELS, f"{seed}/{worker}")) for worker in range(WORKERS)),
    ]
    await asyncio.gather(*(client.run(lambda: bounds.over(clients)) for client in clients))
    await _end(troubles)
    await replicas.until_all_answer()
    await replicas.until_quiet()
    while True:
        tables = await asyncio.to_thread(read_tables, database)
        await asyncio.gather(*(watcher.until(tables.revision, CAUGHT_UP_SECONDS) for watcher in watchers))
        await _end(watches)
        answers = [await _read(stub) for stub in replicas.stubs]
        after = await asyncio.to_thread(read_tables, database)
        if (after.revision, after.events) == (tables.revision, tables.events):
            break
        # What a client had loaded for seconds was let go meanwhile, so that not all of it is as of one moment.
        watches = [asyncio.create_task(watcher.run()) for watcher in watchers]
    journal = [entry for client in clients for entry in client.journal]
    found = [one for client in clients for one in client.found]
    types: Counter[str] = Counter()
    for models, events in answers:
        replays = {name: Replay(ledger) for name, ledger in events.items()}
        found += find(models, events, tables, replays, journal)
        found += find_watched(watchers, tables, replays)
        types = Counter(event.type for ledger in events.values() for event in ledger)
    return Report(
        found=list(dict.fromkeys(found)),
        told=_told(clients),
        types=types,
        revisions=tables.revision,
        resumed=sum(watcher.resumed for watcher in watchers),
        kills=replicas.kills,
        cuts=replicas.cuts,
        crashes=replicas.crashes,
    )


@dataclass(frozen=True, slots=True)
class _Bounds:
    """When a run is over; see `check`."""

    began: float
    seconds: float
    each: int
    longest: float

    def over(self, clients: Iterable[Client]) -> bool:
        """Whether it is."""
        passed = time.monotonic() - self.began
        if passed < self.seconds or passed >= self.longest:
            return passed >= self.seconds
        told = _told(clients)
        return all(told[f"{kind} {Told.OK}"] >= self.each for kind in KINDS)


def _told(clients: Iterable[Client]) -> Counter[str]:
    entries = (entry for client in clients for entry in client.journal if entry.times)
    return Counter(f"{entry.kind} {entry.told}" for entry in entries)


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancels them; what went wrong in one is no secret."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome


async def _read(stub: Any) -> tuple[dict[str, resources_pb2.Model], dict[str, list[resources_pb2.Event]]]:
    models = {one.name.removeprefix("models/"): one async for one in _models(stub)}
    events: dict[str, list[resources_pb2.Event]] = {name: [] for name in models}
    request = service_pb2.ListEventsRequest(parent="models/-", page_size=1000)
    while True:
        page = await stub.ListEvents(request)
        for event in page.events:
            events[event.model].append(event)
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    return models, {name: sorted(ledger, key=lambda event: event.sequence) for name, ledger in events.items()}


async def _models(stub: Any) -> AsyncIterator[resources_pb2.Model]:
    request = service_pb2.ListModelsRequest(page_size=1000)
    while True:
        page = await stub.ListModels(request)
        for model in page.models:
            yield model
        request.page_token = page.next_page_token
        if not request.page_token:
            return


def main() -> None:
    """Runs, prints, and ends with 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("database")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sabotage", nargs="+", default=())
    given = parser.parse_args()
    module, arguments = ("tests.checker.sabotaged", tuple(given.sabotage)) if given.sabotage else ("registry", ())
    report = asyncio.run(check(given.database, given.seconds, given.seed, module=module, arguments=arguments))
    sys.stdout.write(f"{report.types.total()} events, {report.revisions} revisions, {report.resumed} watches resumed\n")
    sys.stdout.write(f"{report.kills} kills, {report.cuts} connections cut\n")
    for what, count in (*sorted(report.told.items()), *sorted(report.types.items())):
        sys.stdout.write(f"  {what}: {count}\n")
    for one in report.found[:50]:
        sys.stdout.write(f"FOUND {one}\n")
    if report.found:
        raise SystemExit(f"{len(report.found)} findings")


if __name__ == "__main__":
    main()
