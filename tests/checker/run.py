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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from crossfade.common.v1 import model_pb2
from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.checker.clients import Client
from tests.checker.journal import Entry
from tests.checker.replicas import Replicas
from tests.checker.verdict import find

MODELS = ["a", "b", "c"]
CLIENTS = 30


@dataclass(frozen=True, slots=True)
class Report:
    """What a run came to.

    Attributes:
        found: everything that is against the rules.
        told: how many operations ended how.
        events: how many there are in the ledgers.
        kills: of replicas.
        cuts: of database connections.
    """

    found: list[str]
    told: Counter[str]
    events: int
    kills: int
    cuts: int


async def check(
    database: str, seconds: float, seed: int, *, module: str = "registry", arguments: tuple[str, ...] = ()
) -> Report:
    """Lets clients loose on replicas that are killed, and holds the outcome against the rules."""
    with tempfile.TemporaryDirectory(prefix="checker-") as folder:
        replicas = Replicas(database, Path(folder), module=module, arguments=arguments)
        try:
            await replicas.start()
            return await _check(replicas, seconds, seed)
        finally:
            await replicas.stop()


async def _check(replicas: Replicas, seconds: float, seed: int) -> Report:
    for model in MODELS:
        request = service_pb2.CreateModelRequest(model_id=model, request_id=str(uuid.uuid4()))
        await replicas.stubs[0].CreateModel(request)
    clients = [Client(number, replicas, MODELS, seed) for number in range(CLIENTS)]
    until = time.monotonic() + seconds
    troubles = [
        asyncio.create_task(replicas.harass(random.Random(seed), every_seconds=3.0)),
        asyncio.create_task(_report_ready(replicas, random.Random(seed + 1))),
    ]
    await asyncio.gather(*(client.run(until) for client in clients))
    for task in troubles:
        task.cancel()
    await asyncio.gather(*troubles, return_exceptions=True)
    await replicas.until_all_answer()
    await replicas.until_quiet()
    journal: list[Entry] = [entry for client in clients for entry in client.journal]
    found = [one for client in clients for one in client.found]
    total = 0
    for stub in replicas.stubs:
        models, events = await _read(stub)
        found += find(models, events, journal)
        total = sum(map(len, events.values()))
    told = Counter(f"{entry.kind} {entry.told}" for entry in journal)
    return Report(list(dict.fromkeys(found)), told, total, replicas.kills, replicas.cuts)


async def _read(stub: Any) -> tuple[dict[str, resources_pb2.Model], dict[str, list[resources_pb2.Event]]]:
    models: dict[str, resources_pb2.Model] = {}
    events: dict[str, list[resources_pb2.Event]] = {}
    for name in MODELS:
        models[name] = await stub.GetModel(service_pb2.GetModelRequest(name=f"models/{name}"))
        events[name] = []
        request = service_pb2.ListEventsRequest(parent=f"models/{name}", page_size=1000)
        while True:
            page = await stub.ListEvents(request)
            events[name] += page.events
            request.page_token = page.next_page_token
            if not request.page_token:
                break
        events[name].reverse()
    return models, events


async def _report_ready(replicas: Replicas, rng: random.Random) -> None:
    """A Worker that has every version that is wanted, so that rollouts begin."""
    instance_id = str(uuid.UUID(int=rng.getrandbits(128), version=4))
    while True:
        try:
            stub = rng.choice(replicas.stubs)
            serving = []
            for name in MODELS:
                model = await stub.GetModel(service_pb2.GetModelRequest(name=f"models/{name}"), timeout=2)
                serving += [_ready(name, version) for version in _held(model)]
            instance = resources_pb2.Instance(
                instance_id=instance_id,
                kind=resources_pb2.INSTANCE_KIND_WORKER,
                address="127.0.0.1:1",
                serving=serving,
            )
            await stub.ReportInstance(service_pb2.ReportInstanceRequest(instance=instance), timeout=2)
        except grpc.RpcError:
            pass
        await asyncio.sleep(0.3)


def _held(model: resources_pb2.Model) -> Sequence[str]:
    busy = (resources_pb2.VERSION_STATE_TESTING, resources_pb2.VERSION_STATE_STABLE)
    return sorted({one.version for lane in model.lanes for one in lane.versions if one.state in busy})


def _ready(model: str, version: str) -> resources_pb2.Serving:
    return resources_pb2.Serving(
        model=model,
        version=version,
        traffic=model_pb2.TRAFFIC_LIVE,
        address="127.0.0.1:1",
        state=resources_pb2.SERVING_STATE_READY,
    )


def main() -> None:
    """Runs, prints, and ends with 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("database")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sabotage", default="")
    given = parser.parse_args()
    module, arguments = ("tests.checker.sabotaged", (given.sabotage,)) if given.sabotage else ("registry", ())
    report = asyncio.run(check(given.database, given.seconds, given.seed, module=module, arguments=arguments))
    sys.stdout.write(f"{report.events} events, {report.kills} kills, {report.cuts} connections cut" + "\n")
    for told, count in sorted(report.told.items()):
        sys.stdout.write(f"  {told}: {count}" + "\n")
    for one in report.found[:50]:
        sys.stdout.write(f"FOUND {one}\n")
    if report.found:
        raise SystemExit(f"{len(report.found)} findings")


if __name__ == "__main__":
    main()
