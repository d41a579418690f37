"""A real Prometheus between the processes and the Evaluator: it gives what the processes give themselves."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest
from grpc import aio

from evaluator.counts import Counts, Series
from evaluator.instances import InstanceSource
from evaluator.ports import ProcessView
from evaluator.prometheus_access import Access
from evaluator.prometheus_http import PrometheusHttp
from evaluator.prometheus_source import PrometheusSource
from evaluator.windows import Reading, take
from services.common.clock import SystemClock
from services.common.telemetry import catalog
from tests.fakes.metrics import Fleet, Instance, MetricServer, PageServer
from tests.fakes.rollouts import demo_policy, demo_terms
from tests.support.prometheus import MakePrometheus, Prometheus
from tests.support.wait import until_async

TERMS = demo_terms(demo_policy(stale_after=10.0), features=3)


class House:
    """A Router and two Workers under traffic, each with GetMetrics and a page."""

    def __init__(self) -> None:
        names = ("6a1c3a52-router", "6a1c3a52-worker-1", "6a1c3a52-worker-2")
        router, *workers = (Instance(name, worker="worker" in name) for name in names)
        random = np.random.default_rng(5)
        self.fleet = Fleet(
            TERMS,
            random,
            rate=2000.0,
            lag=0.1,
            share=3000,
            slice_seconds=1.0,
            routers=(router,),
            workers=tuple(workers),
        )
        self.servers = [MetricServer(one) for one in self.fleet.instances]
        self.pages = [PageServer(one) for one in self.fleet.instances]

    async def start(self) -> None:
        for server, page in zip(self.servers, self.pages, strict=True):
            await server.start()
            page.start()

    async def stop(self) -> None:
        for server, page in zip(self.servers, self.pages, strict=True):
            await server.stop()
            await page.stop()

    @property
    def processes(self) -> Sequence[ProcessView]:
        return [ProcessView(one.instance.name, one.address, one.instance.worker) for one in self.servers]

    @property
    def targets(self) -> list[str]:
        return [page.address for page in self.pages]


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """The processes."""
    made = House()
    await made.start()
    yield made
    await made.stop()


def source_of(server: Prometheus) -> PrometheusSource:
    return PrometheusSource(PrometheusHttp(Access(server.url, "127.0.0.1", server.port)), SystemClock())


async def read_after(source: PrometheusSource, processes: Sequence[ProcessView], moment: float) -> Sequence[Reading]:
    """Readings of scrapes that began after a moment."""
    found: list[Sequence[Reading]] = []

    async def scraped() -> bool:
        found[:] = [await source.read(processes, TERMS, 5.0)]
        return all(one.series is not None and one.read_us > moment * 1e6 for one in found[0])

    await until_async(scraped, 20.0)
    return found[0]


def without_times(counts: Counts) -> list[tuple[str, tuple[tuple[object, ...], ...]]]:
    """Counts to compare: the sums of histograms have been written and read as decimals."""

    def plain(one: Series) -> tuple[object, ...]:
        return (one.metric, one.attributes, one.counts, one.labels, pytest.approx(one.total))

    return [(one.instance_id, tuple(plain(series) for series in one.series)) for one in counts]


async def test_windows_are_those_of_the_processes_themselves(house: House, real_prometheus: MakePrometheus) -> None:
    server = await asyncio.to_thread(real_prometheus, {"crossfade": house.targets}, 0.5)
    source = source_of(server)
    direct = InstanceSource(aio.insecure_channel, SystemClock(), ())
    cursors: list[Counts] = [(), ()]
    rows = 0
    try:
        for look in range(4):
            house.fleet.epoch = 1 + look
            house.fleet.run(1.0)
            # Nothing counts from here on until both have read.
            through = await read_after(source, house.processes, time.time())
            straight = await direct.read(house.processes, TERMS, 5.0)
            taken = [
                take(cursor, each, first=look == 0) for cursor, each in zip(cursors, (through, straight), strict=True)
            ]
            assert not any(one.problems for one in taken)
            assert without_times(taken[0].window) == without_times(taken[1].window)
            assert without_times(taken[0].cursor) == without_times(taken[1].cursor)
            cursors = [one.cursor for one in taken]
            rows += sum(sum(series.counts) for one in taken[0].window for series in one.series)
    finally:
        await source.close()
        await direct.close()
    assert rows > 10_000
    metrics = {series.metric for one in cursors[0] for series in one.series}
    assert catalog.FEEDBACK_COUNT.name in metrics
    assert catalog.INPUT_COUNT.name in metrics
    assert catalog.INFERENCE_DURATION.name in metrics
