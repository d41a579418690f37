"""The pages of a real Worker and a real Router, scraped by a real Prometheus: the Evaluator reads what they say."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from grpc import aio

from crossfade.registry.v1 import resources_pb2
from evaluator.ports import MetricsSource, ProcessView
from evaluator.sources.instances import InstanceSource
from evaluator.sources.prometheus_access import Access
from evaluator.sources.prometheus_http import PrometheusHttp
from evaluator.sources.prometheus_source import PrometheusSource
from evaluator.window.arms import ATTEMPTS, INFERENCE, PREDICTIONS
from evaluator.window.readings import Reading
from router.app import App as Router
from router.settings import RouterSettings
from services.common.clock import SystemClock
from services.common.ports import free_port
from tests.fakes.models import reference_rows
from tests.fakes.registry import FakeRegistry, lane
from tests.fakes.rollouts import demo_policy, demo_terms
from tests.integration.worker.conftest import Caller
from tests.support.prometheus import MakePrometheus
from tests.support.wait import until, until_async

TERMS = replace(demo_terms(demo_policy(stale_after=10.0), features=0), model="scores", test="v1", stable="v0")


async def test_pages_say_through_prometheus_what_the_processes_say(
    registry: FakeRegistry,
    start_worker: Callable[..., Any],
    caller_of: Callable[..., Any],
    artifacts: Callable[..., Any],
    want: Callable[..., Any],
    token_keys: Path,
    real_prometheus: MakePrometheus,
) -> None:
    pages = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    worker = await start_worker(metrics_listen=pages[0])
    router = Router(
        RouterSettings(
            listen="127.0.0.1:0",
            registry=registry.address,
            token_keys=token_keys,
            metrics_listen=pages[1],
            log_level="error",
            drain_seconds=0.2,
        )
    )
    await router.start()
    through: PrometheusSource | None = None
    direct = InstanceSource(aio.insecure_channel, SystemClock(), ())
    caller = Caller(router.address)
    try:
        lane_routes = lane("scores", want(artifacts()))
        await registry.set_lanes(lane_routes)
        await caller_of("v1")
        await route(registry, router, lane_routes)
        for rows in (1, 2, 3, 5):
            await caller.predict(reference_rows(rows))
        processes = [
            ProcessView(worker.instance_id, worker.address, worker=True),
            ProcessView(router.instance_id, router.address, worker=False),
        ]
        straight = await settled(direct, processes)
        server = await asyncio.to_thread(real_prometheus, {"crossfade": pages}, 0.5)
        through = PrometheusSource(PrometheusHttp(Access(server.url, "127.0.0.1", server.port)), SystemClock())
        scraped = await settled(through, processes)
    finally:
        if through is not None:
            await through.close()
        await direct.close()
        await caller.channel.close()
        await router.stop()
    for one, other in zip(scraped, straight, strict=True):
        assert [(s.key, s.counts, s.labels) for s in one.series or ()] == [
            (s.key, s.counts, s.labels) for s in other.series or ()
        ]
    assert all(s.key in one.begun_us for one in straight for s in one.series or ())
    assert all(s.key in one.begun_us for one in scraped for s in one.series or () if s.metric == INFERENCE)
    assert all(one.started_us <= min(one.begun_us.values(), default=one.read_us) for one in scraped)
    counted = {s.metric: sum(s.counts) for one in scraped for s in one.series or ()}
    assert counted[PREDICTIONS] == 1 + 2 + 3 + 5
    assert counted[ATTEMPTS] == 4
    assert counted[INFERENCE] >= 1


async def route(registry: FakeRegistry, router: Router, routes: resources_pb2.LaneRoutes) -> None:
    """Sends every request of the lane to the Worker's process, once the Router knows of it."""
    serving = registry.serving("scores", "v1")
    assert serving is not None
    endpoints = [resources_pb2.Endpoint(instance_id="w", address=serving.address)]
    routes.arms.add(arm="stable", version="v1", share_bps=10_000, endpoints=endpoints)
    routes.wanted[0].endpoints.extend(endpoints)
    before = router.proxy.table.revision
    await registry.set_lanes(routes)
    await until(lambda: router.proxy.table.revision > before)


async def settled(source: MetricsSource, processes: Sequence[ProcessView]) -> Sequence[Reading]:
    """Readings with all that the calls have counted: a Worker fetches its processes' counts ten times a second."""
    found: list[Sequence[Reading]] = []

    async def complete() -> bool:
        found[:] = [await source.read(processes, TERMS, 5.0)]
        rows = sum(sum(s.counts) for one in found[0] for s in one.series or () if s.metric == PREDICTIONS)
        attempts = sum(sum(s.counts) for one in found[0] for s in one.series or () if s.metric == ATTEMPTS)
        return (rows, attempts) == (11, 4)

    await until_async(complete, 20.0)
    return found[0]
