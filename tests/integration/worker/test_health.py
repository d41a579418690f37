"""What a Worker's health says: whether all is ready that is wanted, and whether it hears the Registry."""

import contextlib
from typing import Any

from grpc import aio

from services.common.contact import REGISTRY_HEALTH
from services.common.telemetry import operations
from services.worker.app import VERSIONS_HEALTH
from tests.fakes.registry import FakeRegistry, lane
from tests.support.health import serves
from tests.support.wait import until, until_async
from tests.support.worker import metrics


async def test_a_worker_says_whether_all_is_ready_that_is_wanted_and_whether_it_hears_the_registry(
    registry: FakeRegistry, start_worker: Any, artifacts: Any, want: Any
) -> None:
    app = await start_worker()
    # Nothing is wanted.
    await until_async(lambda: serves(app.address, VERSIONS_HEALTH))
    await until_async(lambda: serves(app.address, REGISTRY_HEALTH))
    broken = want(artifacts(), "v2")
    broken.artifact.uri = "file:///nowhere"
    await registry.set_lanes(lane("scores", want(artifacts())))
    await until(lambda: registry.state("scores", "v1") == "READY", 60)
    await until_async(lambda: serves(app.address, VERSIONS_HEALTH))
    await registry.set_lanes(lane("scores", want(artifacts()), broken))

    async def waits() -> bool:
        return not await serves(app.address, VERSIONS_HEALTH)

    await until_async(waits)
    ready = {one.attributes: one.total for one in await metrics(app.address) if one.metric is operations.VERSION_READY}
    assert ready == {("scores", "v1", "live"): 1.0, ("scores", "v2", "live"): 0.0}


async def test_a_worker_that_does_not_know_what_is_wanted_does_not_say_that_it_is_ready(start_worker: Any) -> None:
    app = await start_worker(registry="127.0.0.1:1")

    async def says() -> bool:
        with contextlib.suppress(aio.AioRpcError):
            return not await serves(app.address, VERSIONS_HEALTH) and not await serves(app.address, REGISTRY_HEALTH)
        return False

    await until_async(says)
