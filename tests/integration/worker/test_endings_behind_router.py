"""A test version whose model ends its process, hangs or leaks, behind a Router: callers notice nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from grpc import aio

from crossfade.predict.v1 import predict_pb2
from router.app import App as Router
from tests.fakes.models import Packaged, reference_rows, request_of
from tests.fakes.registry import FakeRegistry, lane
from tests.integration.worker.conftest import PREDICT
from tests.integration.worker.ending import EXIT, LEAK, SEGFAULT, SLEEP, told
from tests.integration.worker.routed import route
from tests.integration.worker.test_front_ends import processes_of
from tests.support.wait import until

pytestmark = pytest.mark.timeout(300)


class Calls:
    """Calls of a Router, by a client that tries nothing again.

    Args:
        channel: to the Router.
        callers: how many call one after the other, at the same time.
        pause_seconds: between two calls of one.

    Attributes:
        answered: the versions that answered the steady load.
    """

    def __init__(self, channel: aio.Channel, callers: int = 4, pause_seconds: float = 0.02) -> None:
        self._predict: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(PREDICT)
        self._over = False
        self.answered: list[str] = []
        self._pause_seconds = pause_seconds
        self._steady = [asyncio.create_task(self._go_on()) for _ in range(callers)]

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
            await asyncio.sleep(self._pause_seconds)


@asynccontextmanager
async def answered_by_v0_in_the_end(app: Any, router: Router) -> AsyncIterator[Calls]:
    """Calls that both versions answer; in the end v0 does alone, by the process that it had."""

    def pids() -> dict[str, int]:
        return {key.version: pid for key, pid in app.supervisor.pids().items()}

    before = pids()
    async with aio.insecure_channel(router.address) as channel:
        calls = Calls(channel)
        await until(lambda: set(calls.answered) == {"v0", "v1"}, 30)
        yield calls
        later = {await calls.by(reference_rows(1)) for _ in range(20)}
        await calls.stop()
    assert later == {"v0"}
    assert pids() == {"v0": before["v0"]}


def has_failed(registry: FakeRegistry, words: str) -> None:
    """Fails unless v1 has crashed twice, and for the reason given."""
    serving = registry.serving("scores", "v1")
    assert serving is not None
    assert (serving.error_code, "crashed 2 times" in serving.error) == ("CRASHED", True)
    assert words in serving.error


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
    await route(registry, router, {"stable": stable, "test": test})
    async with answered_by_v0_in_the_end(app, router) as calls:
        poisoned: list[str] = []
        async with asyncio.timeout(180):
            while registry.state("scores", "v1") != "FAILED":
                poisoned.append(await calls.by(told(what)))
    assert set(poisoned) == {"v0"}
    assert len(poisoned) >= 2
    has_failed(registry, words)


async def test_a_test_version_that_leaks_is_ended_and_answered_for_by_stable(
    registry: FakeRegistry,
    start_worker: Any,
    router: Router,
    caller_of: Any,
    artifacts: Any,
    want: Any,
    linear: Packaged,
) -> None:
    stable, test = want(artifacts(scale=3.0), "v0"), want(linear)
    await registry.set_lanes(lane("scores", stable, test, test="v1"))
    # What a leak takes is memory of the machine, also where the model runs on a GPU.
    app = await start_worker(device="cpu", architectures="linear", version_memory_bytes=300_000_000)
    await caller_of("v0")
    await caller_of("v1")
    await route(registry, router, {"stable": stable, "test": test})
    async with answered_by_v0_in_the_end(app, router) as calls:
        leaked: list[str] = []
        async with asyncio.timeout(180):
            while registry.state("scores", "v1") != "FAILED":
                # Either version answers it: nothing is wrong with the answer.
                leaked.append(await calls.by(told(LEAK)))
                # The Worker looks once a second, and this machine has memory for a while only.
                assert leaked.count("v1") < 200, "nobody ended it"
                await asyncio.sleep(0.05)
    assert set(leaked) == {"v0", "v1"}
    has_failed(registry, "it may take 300 MB (CROSSFADE_VERSION_MEMORY_BYTES)")


async def test_engines_that_are_killed_amid_rows_that_front_ends_run_cost_no_caller_an_answer(
    registry: FakeRegistry, start_worker: Any, router: Router, caller_of: Any, artifacts: Any, want: Any
) -> None:
    stable, test = want(artifacts(scale=3.0), "v0"), want(artifacts())
    await registry.set_lanes(lane("scores", stable, test, test="v1"))
    app = await start_worker(device="cpu")
    await caller_of("v0")
    await caller_of("v1")
    await route(registry, router, {"stable": stable, "test": test})
    async with aio.insecure_channel(router.address) as channel:
        # Two seldom meet at one front-end, which runs the rows of those who come alone itself.
        calls = Calls(channel, callers=2, pause_seconds=0.0)

        async def kill_engine(version: str, answering: set[str]) -> None:
            await until(lambda: registry.state("scores", version) == "READY", 60)
            del calls.answered[:]
            await until(lambda: set(calls.answered) == answering and len(calls.answered) > 200, 60)
            engine, _ = processes_of(app, version)
            engine.kill()
            await until(lambda: registry.state("scores", version) != "READY", 30)

        # The second one is the end of the test version.
        await kill_engine("v1", {"v0", "v1"})
        await kill_engine("v1", {"v0", "v1"})
        await until(lambda: registry.state("scores", "v1") == "FAILED", 60)
        # Stable is started again, and its calls wait for it.
        await kill_engine("v0", {"v0"})
        await kill_engine("v0", {"v0"})
        await until(lambda: registry.state("scores", "v0") == "READY", 60)
        await calls.stop()
    assert registry.state("scores", "v1") == "FAILED"
