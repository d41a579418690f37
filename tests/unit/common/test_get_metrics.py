"""What GetMetrics costs those who share its loop, and of which moment its counts are."""

import asyncio
from collections.abc import Iterable

import pytest

from crossfade.telemetry.v1 import telemetry_pb2
from services.common.telemetry import catalog, otlp
from services.common.telemetry.otlp import Resource
from services.common.telemetry.servicer import TelemetryServicer
from services.common.telemetry.store import MetricStore, Snapshot
from tests.support.wait import until

SERIES = 3_000


class House:
    """A process with many series, which counts how often all are frozen; `gate`: freezing waits for it."""

    def __init__(self, series: int = SERIES) -> None:
        self.store = MetricStore()
        self.frozen = 0
        self.read_series = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None
        for number in range(series):
            for outcome in ("ok", "INTERNAL"):
                self.store.histogram(catalog.ATTEMPT_DURATION, f"m{number}", "v1", "live", "", outcome, "1")
        self.servicer = TelemetryServicer(Resource("crossfade-router", "r-1", 1), self.collect)

    async def collect(self, model: str = "") -> Iterable[Snapshot]:
        self.frozen += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        found = self.store.snapshot(model)
        self.read_series += len(found)
        return found

    def count(self, number: int = 0) -> None:
        for outcome in ("ok", "INTERNAL"):
            self.store.histogram(catalog.ATTEMPT_DURATION, f"m{number}", "v1", "live", "", outcome, "1").record(0.1)

    async def read(self, model: str = "", *names: str) -> otlp.Pull:
        request = telemetry_pb2.GetMetricsRequest(names=names, model=model)
        return otlp.decode((await self.servicer.GetMetrics(request, None)).metrics_data)  # type: ignore[arg-type]


def counted(pull: otlp.Pull) -> dict[str, int]:
    """Counts by outcome, all models together."""
    found: dict[str, int] = {}
    for one in pull.snapshots:
        found[one.attributes[4]] = found.get(one.attributes[4], 0) + sum(one.counts)
    return found


async def test_others_run_between_the_slices_and_all_counts_are_of_one_moment() -> None:
    house = House()
    turns = 0
    reading = asyncio.create_task(house.read())
    await until(lambda: house.frozen)
    while not reading.done():
        # Both outcomes of models that come late in the answer, while it is being written.
        house.count(SERIES - 1)
        turns += 1
        await asyncio.sleep(0)
    pull = await reading
    assert turns > SERIES * 2 / 50
    assert len(pull.snapshots) == SERIES * 2
    assert len(set(counted(pull).values())) == 1
    assert counted(pull)["ok"] < turns
    assert (pull.service, pull.instance_id) == ("crossfade-router", "r-1")


async def test_its_time_is_that_of_the_counts() -> None:
    house = House()
    reading = asyncio.create_task(house.read())
    await until(lambda: house.frozen)
    await asyncio.sleep(0)
    asked = asyncio.create_task(house.read("m1"))
    first, second = await reading, await asked
    assert 0 < first.time_ns < second.time_ns


async def test_all_who_ask_for_the_same_meanwhile_share_the_next_answer_whose_counts_are_later_than_their_request() -> (
    None
):
    house = House(3)
    house.gate.clear()
    first = asyncio.create_task(house.read())
    await until(lambda: house.frozen == 1)
    others = [asyncio.create_task(house.read()) for _ in range(20)]
    one_model = asyncio.create_task(house.read("m1"))
    no_metric = asyncio.create_task(house.read("", "crossfade.none"))
    await asyncio.sleep(0)
    house.gate.set()
    assert counted(await first) == {"ok": 0, "INTERNAL": 0}
    house.count()
    assert [counted(one) for one in await asyncio.gather(*others)] == [{"ok": 1, "INTERNAL": 1}] * 20
    assert {one.attributes[0] for one in (await one_model).snapshots} == {"m1"}
    assert (await no_metric).snapshots == ()
    assert house.frozen == 2
    await house.read()
    assert house.frozen == 3


async def test_nothing_is_encoded_for_those_who_have_gone_and_others_get_theirs() -> None:
    house = House(3)
    house.gate.clear()
    gone, stays = (asyncio.create_task(house.read()) for _ in range(2))
    await until(lambda: house.frozen == 1)
    gone.cancel()
    left = asyncio.create_task(house.read("m1"))
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.gather(gone, left, return_exceptions=True)
    house.gate.set()
    assert len((await stays).snapshots) == 6


async def test_a_failure_reaches_all_who_wait_and_the_next_one_is_tried_anew() -> None:
    house = House(1)
    house.error = RuntimeError("no counts")
    failed = await asyncio.gather(house.read(), house.read(), house.read("m0"), return_exceptions=True)
    assert [str(one) for one in failed] == ["no counts"] * 3
    house.error = None
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await house.read()
    assert len((await house.read()).snapshots) == 2


async def test_of_a_model_its_own_series_are_read_and_no_others_unless_somebody_asks_for_all() -> None:
    house = House()
    assert {one.attributes[0] for one in (await house.read("m7")).snapshots} == {"m7"}
    assert house.read_series == 2
    both = await asyncio.gather(house.read("m7"), house.read("m8"), house.read("none"))
    assert [len(one.snapshots) for one in both] == [2, 2, 0]
    assert house.read_series == 6
    whole, one = await asyncio.gather(house.read(), house.read("m7"))
    assert (len(whole.snapshots), len(one.snapshots)) == (SERIES * 2, 2)
    assert house.read_series == 6 + SERIES * 2
