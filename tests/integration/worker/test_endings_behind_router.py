"""A test version whose model ends its process or hangs, behind a Router: callers notice nothing."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from grpc import aio

from crossfade.predict.v1 import predict_pb2
from crossfade.registry.v1 import resources_pb2
from router.app import App as Router
from router.settings import RouterSettings
from tests.fakes.models import Packaged, reference_rows, request_of
from tests.fakes.registry import FakeRegistry, lane
from tests.integration.worker.conftest import PREDICT
from tests.integration.worker.ending import EXIT, SEGFAULT, SLEEP, told
from tests.support.wait import until


class Calls:
    """Calls of a Router, by a client that tries nothing again.

    Attributes:
        answered: the versions that answered the steady load.
    """

    def __init__(self, channel: aio.Channel) -> None:
        self._predict: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(PREDICT)
        self._over = False
        self.answered: list[str] = []
        self._steady = [asyncio.create_task(self._go_on()) for _ in range(4)]

    async def by(self, rows: Any) -> str:
        """The version that answers."""
        # Far more than a hanging model takes: nothing here is about time.
        body = await self._predict(request_of("scores", rows), timeout=60)
        return predict_pb2.PredictResponse.FromString(body).model_version

    async def stop(self) -> None:
        """Ends the steady load; fails if a call of it has."""
        self._over = True
        await asyncio.gather(*self._steady)

    async def _go_on(self) -> None:
        while not self._over:
            self.answered.append(await self.by(reference_rows(1)))
            await asyncio.sleep(0.02)


@pytest.fixture
async def router(registry: FakeRegistry, token_keys: Path) -> AsyncIterator[Router]:
    """A Router of the same Registry."""
    made = Router(
        RouterSettings(
            listen="127.0.0.1:0",
            registry=registry.address,
            token_keys=token_keys,
            log_level="error",
            drain_seconds=0.2,
        )
    )
    await made.start()
    yield made
    await made.stop()


async def half_each(registry: FakeRegistry, router: Router, stable: Any, test: Any) -> None:
    """Routes half of the calls to each version, where it is served."""
    routes = lane("scores", stable, test, test=test.version)
    for arm, version in (("stable", stable), ("test", test)):
        serving = registry.serving("scores", version.version)
        assert serving is not None
        endpoint = resources_pb2.Endpoint(instance_id="w", address=serving.address)
        next(one for one in routes.wanted if one.version == version.version).endpoints.append(endpoint)
        routes.arms.add(arm=arm, version=version.version, share_bps=5_000, endpoints=[endpoint])
    await registry.set_lanes(routes)
    await until(lambda: any(one.arms for one in router.proxy.table.lanes.values()))


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (EXIT, "ended with exit code 0"),
        (SEGFAULT, "was ended by SIGSEGV"),
        (SLEEP, "a batch ran for more than 3 s"),
    ],
)
async def test_what_ends_a_test_version_is_answered_by_stable_until_that_has_failed(
    registry: FakeRegistry,
    start_worker: Any,
    router: Router,
    caller_of: Any,
    artifacts: Any,
    want: Any,
    linear: Packaged,
    what: float,
    words: str,
) -> None:
    stable, test = want(artifacts(scale=3.0), "v0"), want(linear)
    await registry.set_lanes(lane("scores", stable, test, test="v1"))
    app = await start_worker(architectures="linear", hang_seconds=3.0)
    await caller_of("v0")
    await caller_of("v1")
    before = {key.version: pid for key, pid in app.supervisor.pids().items()}
    await half_each(registry, router, stable, test)
    async with aio.insecure_channel(router.address) as channel:
        calls = Calls(channel)
        await until(lambda: set(calls.answered) == {"v0", "v1"}, 30)
        poisoned: list[str] = []
        async with asyncio.timeout(90):
            while registry.state("scores", "v1") != "FAILED":
                poisoned.append(await calls.by(told(what)))
        later = {await calls.by(reference_rows(1)) for _ in range(20)}
        await calls.stop()
    assert set(poisoned) == {"v0"}
    assert len(poisoned) >= 2
    assert later == {"v0"}
    serving = registry.serving("scores", "v1")
    assert serving is not None
    assert (serving.error_code, "crashed 2 times" in serving.error) == ("CRASHED", True)
    assert words in serving.error
    after = {key.version: pid for key, pid in app.supervisor.pids().items()}
    assert after == {"v0": before["v0"]}
