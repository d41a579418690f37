"""A real Prometheus between the processes and the Evaluator: it gives what the processes give themselves."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from grpc import aio

from evaluator.ports import ProcessView
from evaluator.sources.instances import InstanceSource
from evaluator.sources.prometheus_access import Access
from evaluator.sources.prometheus_http import PrometheusHttp
from evaluator.sources.prometheus_source import PrometheusSource
from evaluator.terms import Terms
from evaluator.window.arms import ELSEWHERE, METRICS
from evaluator.window.counts import Counts, InstanceCounts, Series
from evaluator.window.readings import Reading
from evaluator.window.windows import take
from services.common.clock import SystemClock
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Gate, GateMargin, Need
from services.common.telemetry import catalog
from tests.fakes.metric_servers import MetricServer, PageServer
from tests.fakes.metrics import Behaviour, Fleet, Instance
from tests.fakes.rollouts import demo_policy, demo_terms
from tests.integration.evaluator.conftest import MakeScene
from tests.integration.evaluator.scene import Scene, quick_terms
from tests.integration.evaluator.test_rollouts_over_grpc import (
    PROMOTED,
    ROLLED_BACK,
    check_that_each_count_is_in_one_window,
    ended,
)
from tests.support.prometheus import MakePrometheus, Prometheus
from tests.support.wait import until_async

BALANCE = Gate("balance", MetricKind.CLASS_BALANCE, Need.NEVER, GateMargin(offset=0.02), GateMargin(offset=0.05), 1.0)
POLICY = demo_policy(stale_after=10.0)
# With gates on everything that is counted.
TERMS = demo_terms(replace(POLICY, gates=(*POLICY.gates, BALANCE)), features=3, sticky=True)


MANY = 10**12 + 1
LIVE = ("digits", "v2", "live")


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

    def count_much(self) -> None:
        """A million million labels and attempts more, pairs of answers to copies, errors, numbers, parts of them."""
        store = self.fleet.routers[0].store
        store.counter(catalog.FEEDBACK_COUNT, *LIVE, "", "1.1", "3", "7", "false").add(MANY)
        store.histogram(catalog.ATTEMPT_DURATION, *LIVE, "", "UNKNOWN", "1").counts[7] += MANY
        # What an open breaker lets through.
        store.histogram(catalog.ATTEMPT_DURATION, *LIVE[:2], "reduced", "", "INTERNAL", "1").counts[7] += MANY
        store.histogram(catalog.FEEDBACK_ERROR, *LIVE, "", "1.1").counts[99] += MANY
        store.histogram(catalog.FEEDBACK_VALUE, *LIVE, "", "1.1").counts[99] += MANY
        store.counter(catalog.SHADOW_PAIR_COUNT, *LIVE[:2], "shadow", "", "3", "7").add(MANY)
        store.counter(catalog.SHADOW_LABEL_COUNT, *LIVE[:2], "shadow", "", "1.1", "no", "right", "wrong").add(MANY)
        store.counter(catalog.SHADOW_NOTED_COUNT, *LIVE[:2], "shadow", "", "1.1", "no").add(MANY)
        store.counter(catalog.FEEDBACK_LATE_COUNT, *LIVE, "").add(MANY)
        store.counter(catalog.CALLER_PREDICTION_COUNT, *LIVE, "", "1.1", "eu").add(MANY)
        store.spread(catalog.FEEDBACK_ALIKE, catalog.ALIKE_SUMS, *LIVE, "", "1.1").add((MANY, 3, 2))
        store.spread(catalog.PREDICTION_ALIKE, ("3", "7"), *LIVE, "", "1.1", "class").add((MANY, 3))
        store.spread(catalog.INPUT_ALIKE, ("0", "1"), *LIVE, "", "f0", "p2", "class").add((MANY, 3))
        store.counter(catalog.CALLER_ATTEMPT_COUNT, *LIVE, "", "ok", "1", "eu").add(MANY)
        store.counter(catalog.CALLER_FEEDBACK_COUNT, *LIVE, "", "1.1", "eu", "true").add(MANY)
        store.histogram(catalog.COHORT_ATTEMPT, *LIVE, "", "ok", "1").counts[49] += MANY
        store.histogram(catalog.COHORT_FEEDBACK, *LIVE, "", "1.1", "value", "true").counts[0] += MANY

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


async def read_after(
    source: PrometheusSource, processes: Sequence[ProcessView], moment: float, terms: Terms = TERMS
) -> Sequence[Reading]:
    """Readings of scrapes that began after a moment."""
    found: list[Sequence[Reading]] = []

    async def scraped() -> bool:
        found[:] = [await source.read(processes, terms, 5.0)]
        return all(one.series is not None and one.read_us > moment * 1e6 for one in found[0])

    await until_async(scraped, 20.0)
    return found[0]


def without_times(counts: Sequence[InstanceCounts]) -> list[tuple[str, tuple[tuple[object, ...], ...]]]:
    """Counts to compare: the sums of histograms have been written and read as decimals."""

    def plain(one: Series) -> tuple[object, ...]:
        return (one.metric, one.attributes, one.counts, one.labels, pytest.approx(one.total))

    return [(one.instance_id, tuple(plain(series) for series in one.series)) for one in counts]


def check_that_batches_began_alike(through: Sequence[Reading], straight: Sequence[Reading]) -> None:
    """By two clocks that are one here, as far apart as a page takes to be made."""
    for one, other in zip(through, straight, strict=True):
        batches = {each.key for each in one.series or () if each.metric == catalog.INFERENCE_DURATION.name}
        assert bool(batches) == ("worker" in one.instance_id)
        assert {key: one.begun_us[key] for key in batches} == pytest.approx(
            {key: other.begun_us[key] for key in batches}, abs=2e6
        )


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
            house.count_much()
            # Nothing counts from here on until both have read.
            readings = (
                await read_after(source, house.processes, time.time()),
                await direct.read(house.processes, TERMS, 5.0),
            )
            taken = [take(cursor, each, first=look == 0) for cursor, each in zip(cursors, readings, strict=True)]
            assert not any(one.problems for one in taken)
            assert without_times(taken[0].window) == without_times(taken[1].window)
            assert without_times(taken[0].cursor) == without_times(taken[1].cursor)
            check_that_batches_began_alike(*readings)
            cursors = [one.cursor for one in taken]
            rows += sum(sum(series.counts) for one in taken[0].window for series in one.series)
    finally:
        await source.close()
        await direct.close()
    assert rows > 3 * MANY
    found = [series for one in cursors[0] for series in one.series]
    assert {series.metric for series in found} == set(METRICS)
    assert {series.values().get("traffic", "") for series in found} >= {"live", "control", "shadow", "reduced"}


async def test_requests_of_other_lanes_are_those_of_the_processes_themselves(
    house: House, real_prometheus: MakePrometheus
) -> None:
    terms = replace(TERMS, sticky=False)
    server = await asyncio.to_thread(real_prometheus, {"crossfade": house.targets}, 0.5)
    source = source_of(server)
    house.fleet.run(1.0)
    router = house.fleet.routers[0].store
    for lane, outcome in (("eu", "ok"), ("eu", "INTERNAL"), ("us", "ok")):
        router.histogram(catalog.ATTEMPT_DURATION, *LIVE, lane, outcome, "4").counts[7] += MANY
    readings = await read_after(source, house.processes, time.time(), terms)
    await source.close()
    through = [InstanceCounts(one.instance_id, 0, one.series or ()) for one in readings]
    straight = [InstanceCounts(one.name, 0, one.read(0.0, terms).series or ()) for one in house.fleet.instances]
    assert without_times(through) == without_times(straight)
    others = {one.values()["segment"]: one.counts for one in through[0].series if one.metric == ELSEWHERE}
    assert others == {"eu": (2 * MANY,), "us": (MANY,)}


async def test_a_process_that_ends_and_one_that_starts_in_its_place(
    house: House, real_prometheus: MakePrometheus
) -> None:
    server = await asyncio.to_thread(real_prometheus, {"crossfade": house.targets}, 0.5)
    source = source_of(server)
    house.fleet.run(1.0)
    cursor = take((), await read_after(source, house.processes, time.time()), first=True).cursor
    page, router = house.pages[0], house.fleet.routers[0]
    await page.stop()
    ended_at = time.time()
    page.instance = house.servers[0].instance = Instance("6a1c3a52-router-anew", worker=False)
    house.fleet.routers = (page.instance,)
    house.fleet.run(1.0)
    page.start()
    taken = take(cursor, await read_after(source, house.processes, time.time()), first=False)
    gone = (await source.read([ProcessView(router.name, "", worker=False)], TERMS, 5.0))[0]
    await source.close()
    assert not taken.problems
    anew = next(one for one in taken.window if one.instance_id == page.instance.name)
    assert without_times([anew]) == without_times(
        [InstanceCounts(page.instance.name, 0, page.instance.read(0.0, TERMS).series or ())]
    )
    # Its last scrape is evidence for as long as it is fresh.
    assert gone.series == router.read(0.0, TERMS).series
    assert gone.read_us / 1e6 <= ended_at


async def test_a_process_with_two_targets_is_counted_once(house: House, real_prometheus: MakePrometheus) -> None:
    jobs = {"one": house.targets, "two": house.targets}
    server = await asyncio.to_thread(real_prometheus, jobs, 0.5, {"two": {"replica": "b"}})
    source = source_of(server)
    house.fleet.run(1.0)
    readings = await read_after(source, house.processes, time.time())
    await source.close()
    through = [InstanceCounts(one.instance_id, 0, one.series or ()) for one in readings]
    straight = [InstanceCounts(one.name, 0, one.read(0.0, TERMS).series or ()) for one in house.fleet.instances]
    assert without_times(through) == without_times(straight)


async def test_a_good_version_is_promoted_through_prometheus(scene: MakeScene, real_prometheus: MakePrometheus) -> None:
    made, server, pages = await watched(scene, real_prometheus)
    try:
        # No process can be reached by the Evaluator.
        for one in made.servers:
            await one.stop()
        await made.evaluate(server.url)
        await made.publish()
        rollout = await made.until(ended, 60.0)
        assert rollout.state == PROMOTED, rollout.outcome.reason
        assert (rollout.step, rollout.outcome.code) == (1, "SAFE")
        await check_that_each_count_is_in_one_window(made)
    finally:
        for page in pages:
            await page.stop()


async def test_a_failing_version_is_rolled_back_through_prometheus(
    scene: MakeScene, real_prometheus: MakePrometheus
) -> None:
    made, server, pages = await watched(scene, real_prometheus)
    made.fleet.test = Behaviour(errors=0.03)
    try:
        await made.evaluate(server.url)
        await made.publish()
        rollout = await made.until(ended, 60.0)
        assert (rollout.state, rollout.outcome.gate) == (ROLLED_BACK, "errors"), rollout.outcome.reason
        await check_that_each_count_is_in_one_window(made)
    finally:
        for page in pages:
            await page.stop()


async def watched(scene: MakeScene, real_prometheus: MakePrometheus) -> tuple[Scene, Prometheus, list[PageServer]]:
    """A lane whose processes a Prometheus scrapes twice a second."""
    terms = quick_terms(1000, 5000, period=40.0, stale_after=3.0)
    made = await scene(terms)
    pages = [PageServer(one) for one in made.fleet.instances]
    for page in pages:
        page.start()
    server = await asyncio.to_thread(real_prometheus, {"crossfade": [page.address for page in pages]}, 0.5)
    source = source_of(server)
    processes = [ProcessView(one.name, "", one.worker) for one in made.fleet.instances]

    async def scraped() -> bool:
        return all(one.series is not None for one in await source.read(processes, terms, 5.0))

    await until_async(scraped, 20.0)
    await source.close()
    return made, server, pages
