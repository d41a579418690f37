"""Thirty writers on one lane, and on a hundred, over two replicas on a PostgreSQL that syncs to its disk.

Each writer pauses or resumes a rollout as it knows it: from its own last answer, or from the error that told it that
somebody was faster. Then it waits a moment, with full jitter, and decides again. The ledger is held against what the
writers were told. `python -m benchmarks.registry_contention`; the last line is a JSON object.
"""

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
import numpy as np
from grpc import aio
from rich.console import Console
from rich.table import Table

from benchmarks.registries import Registries, new_id, registries, running
from crossfade.enum_names import enum_name
from crossfade.errors import details_of
from crossfade.registry.v1 import resources_pb2, service_pb2

_WRITERS: Final = 30
_LANES: Final = 100
_SECONDS: Final = 10.0
_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Seen:
    """A rollout as a writer knows it."""

    state: str
    etag: str


@dataclass
class Tally:
    """What writers were told.

    Attributes:
        done: the reasons of transitions that were acknowledged.
        tries: how many RPCs they took.
        seconds: from the first try to the acknowledgement.
    """

    done: list[str] = field(default_factory=list)
    tries: int = 0
    seconds: list[float] = field(default_factory=list)


def main() -> None:
    """Measures and prints."""
    asyncio.run(_measure())


async def _measure() -> None:
    async with registries(2) as started:
        models = [f"m{number}" for number in range(_LANES)]
        for model in models:
            await running(started.stubs[0], model)
        hot = await _write(started, models[:1], "hot")
        spread = await _write(started, models, "spread")
        written = await _reasons(started, models)
    async with registries(2, "benchmarks.contention_floor") as bare:
        floor = await _write(bare, models[:1], "floor")
    lost = sum(written[reason] == 0 for tally in (hot, spread) for reason in tally.done)
    duplicated = sum(count > 1 for count in written.values())
    table = Table("lanes", "transitions/s", "tries per success", "p50 ms", "p99 ms")
    result: dict[str, float] = {"lost": lost, "duplicated": duplicated}
    for name, lanes, tally in (("hot_lane", "1", hot), ("spread", str(_LANES), spread), ("floor", "1 (floor)", floor)):
        p50, p99 = np.percentile(tally.seconds, (50, 99)) * 1e3
        rate, tries = len(tally.done) / _SECONDS, tally.tries / max(1, len(tally.done))
        table.add_row(lanes, f"{rate:.0f}", f"{tries:.2f}", f"{p50:.0f}", f"{p99:.0f}")
        result |= {
            f"{name}_per_s": round(rate),
            f"{name}_tries": round(tries, 2),
            f"{name}_p50_ms": round(p50),
            f"{name}_p99_ms": round(p99),
        }
    Console().print(table)
    print(json.dumps(result))


async def _write(started: Registries, models: list[str], name: str) -> Tally:
    tally, until = Tally(), time.monotonic() + _SECONDS

    async def writer(number: int) -> None:
        rng = random.Random(f"{name}/{number}")
        known: dict[str, Seen] = {}
        turn = 0
        while time.monotonic() < until:
            turn += 1
            model = rng.choice(models)
            began, tries = time.monotonic(), 0
            while not await _toggle(rng.choice(started.stubs), model, f"{name} {number}.{turn}", known, tally):
                if time.monotonic() > until:
                    return
                await asyncio.sleep(rng.uniform(0.0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0**tries)))
                tries += 1
            tally.seconds.append(time.monotonic() - began)

    await asyncio.gather(*(writer(number) for number in range(_WRITERS)))
    return tally


async def _toggle(stub: Any, model: str, reason: str, known: dict[str, Seen], tally: Tally) -> bool:
    tally.tries += 1
    name = f"models/{model}/rollouts/1"
    if model not in known:
        known[model] = _seen(await stub.GetRollout(service_pb2.GetRolloutRequest(name=name)))
    values: dict[str, Any] = {"name": name, "etag": known[model].etag, "reason": reason, "request_id": new_id()}
    try:
        if known[model].state == "RUNNING":
            after = await stub.PauseRollout(service_pb2.PauseRolloutRequest(**values))
        else:
            after = await stub.ResumeRollout(service_pb2.ResumeRolloutRequest(**values))
    except aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.ABORTED:
            raise
        told = details_of(error).metadata
        known.pop(model)
        if "etag" in told:
            known[model] = Seen(told["state"], told["etag"])
        return False
    known[model] = _seen(after)
    tally.done.append(reason)
    return True


def _seen(rollout: resources_pb2.Rollout) -> Seen:
    return Seen(enum_name(resources_pb2.RolloutState.DESCRIPTOR, rollout.state), rollout.etag)


async def _reasons(started: Registries, models: list[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for model in models:
        request = service_pb2.ListEventsRequest(
            parent=f"models/{model}", types=["ROLLOUT_PAUSED", "ROLLOUT_RESUMED"], page_size=1000
        )
        while True:
            page = await started.stubs[1].ListEvents(request)
            found.update(event.reason for event in page.events)
            request.page_token = page.next_page_token
            if not request.page_token:
                break
    return found


if __name__ == "__main__":
    main()
