"""Thirty writers on one lane, and on a hundred, over two replicas on a PostgreSQL that syncs to its disk.

Each writer reads a rollout, pauses or resumes it as it found it, and tries again when somebody was faster. The ledger
is held against what the writers were told. `python -m benchmarks.registry_contention`; the last line is a JSON object.
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
from crossfade.registry.v1 import resources_pb2, service_pb2

_WRITERS: Final = 30
_LANES: Final = 100
_SECONDS: Final = 10.0
_RUNNING: Final = resources_pb2.ROLLOUT_STATE_RUNNING


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
    lost = sum(written[reason] == 0 for tally in (hot, spread) for reason in tally.done)
    duplicated = sum(count > 1 for count in written.values())
    table = Table("lanes", "transitions/s", "tries per success", "p50 ms", "p99 ms")
    result: dict[str, float] = {"lost": lost, "duplicated": duplicated}
    for name, lanes, tally in (("hot_lane", 1, hot), ("spread", _LANES, spread)):
        p50, p99 = np.percentile(tally.seconds, (50, 99)) * 1e3
        rate, tries = len(tally.done) / _SECONDS, tally.tries / max(1, len(tally.done))
        table.add_row(str(lanes), f"{rate:.0f}", f"{tries:.2f}", f"{p50:.0f}", f"{p99:.0f}")
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
        turn = 0
        while time.monotonic() < until:
            turn += 1
            model = rng.choice(models)
            began = time.monotonic()
            while not await _toggle(rng.choice(started.stubs), model, f"{name} {number}.{turn}", tally):
                if time.monotonic() > until:
                    return
            tally.seconds.append(time.monotonic() - began)

    await asyncio.gather(*(writer(number) for number in range(_WRITERS)))
    return tally


async def _toggle(stub: Any, model: str, reason: str, tally: Tally) -> bool:
    tally.tries += 1
    rollout = await stub.GetRollout(service_pb2.GetRolloutRequest(name=f"models/{model}/rollouts/1"))
    values = {"name": rollout.name, "etag": rollout.etag, "reason": reason, "request_id": new_id()}
    try:
        if rollout.state == _RUNNING:
            await stub.PauseRollout(service_pb2.PauseRolloutRequest(**values))
        else:
            await stub.ResumeRollout(service_pb2.ResumeRolloutRequest(**values))
    except aio.AioRpcError as error:
        if error.code() not in (grpc.StatusCode.ABORTED, grpc.StatusCode.FAILED_PRECONDITION):
            raise
        return False
    tally.done.append(reason)
    return True


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
