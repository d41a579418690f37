"""Models of other people's code that end their process, hang or take all memory: the others go on."""

import re
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from tests.fakes.models import Packaged, reference_rows
from tests.fakes.registry import FakeRegistry, lane
from tests.integration.worker.ending import EXIT, INTERRUPT, LEAK, LEAK_BYTES, LOOP, SEGFAULT, SLEEP, SYSTEM_EXIT, told
from tests.support.wait import until


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (EXIT, "the process that runs its model ended with exit code 0"),
        (SYSTEM_EXIT, "the process that runs its model ended with exit code 1: SystemExit: no licence"),
        (SEGFAULT, "the process that runs its model was ended by SIGSEGV"),
        (INTERRUPT, "the process that runs its model ended with exit code 1: KeyboardInterrupt"),
    ],
)
async def test_a_model_that_ends_its_process_is_started_again_and_failed_after_two(
    registry: FakeRegistry,
    start_worker: Any,
    caller_of: Any,
    artifacts: Any,
    want: Any,
    linear: Packaged,
    what: float,
    words: str,
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts(scale=3.0), "v0"), want(linear)))
    await start_worker(architectures="linear")
    for _ in range(2):
        caller = await caller_of("v1")
        failure = await caller.failure(told(what))
        assert failure.code == "UNAVAILABLE"
        await until(lambda: registry.state("scores", "v1") != "READY", 30)
    await until(lambda: registry.state("scores", "v1") == "FAILED", 60)
    serving = registry.serving("scores", "v1")
    assert serving is not None
    assert serving.error_code == "CRASHED"
    assert words in serving.error
    await until(lambda: registry.state("scores", "v0") == "READY", 60)


async def test_a_model_that_ends_its_process_while_it_is_loaded_fails(
    registry: FakeRegistry, start_worker: Any, artifacts: Any, want: Any, linear: Packaged, house: Path
) -> None:
    (house / "exits").touch()
    await registry.set_lanes(lane("scores", want(artifacts(scale=3.0), "v0"), want(linear)))
    await start_worker(architectures="linear")
    await until(lambda: registry.state("scores", "v1") == "FAILED", 60)
    serving = registry.serving("scores", "v1")
    assert serving is not None
    assert "the process that runs its model ended with exit code 0" in serving.error


@pytest.mark.parametrize("what", [SLEEP, LOOP])
async def test_a_model_that_never_comes_back_is_ended(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, want: Any, linear: Packaged, what: float
) -> None:
    await registry.set_lanes(lane("scores", want(linear)))
    await start_worker(architectures="linear", hang_seconds=2)
    caller = await caller_of("v1")
    assert (await caller.failure(told(what), timeout_seconds=30)).code == "UNAVAILABLE"
    await until(lambda: registry.state("scores", "v1") != "READY", 30)
    again = await caller_of("v1")
    await again.channel.channel_ready()
    await again.predict(reference_rows(2))


async def test_a_model_that_leaks_is_ended_at_its_limit(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, want: Any, linear: Packaged
) -> None:
    await registry.set_lanes(lane("scores", want(linear)))
    await start_worker(device="cpu", architectures="linear", version_memory_bytes=300_000_000)
    caller = await caller_of("v1")
    answered = 0
    with pytest.raises(aio.AioRpcError) as ended:
        while True:
            await caller.predict(told(LEAK))
            answered += 1
            # A Worker looks once a second.
            if answered * LEAK_BYTES > 300_000_000:
                await until(lambda: registry.state("scores", "v1") != "READY", 30)
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    assert answered >= 200_000_000 // LEAK_BYTES
    await until(lambda: registry.state("scores", "v1") != "READY", 30)
    again = await caller_of("v1")
    await again.channel.channel_ready()
    await again.predict(reference_rows(2))


async def test_memory_counts_while_a_model_is_loaded(
    registry: FakeRegistry, start_worker: Any, want: Any, artifacts: Any, linear: Packaged, house: Path
) -> None:
    (house / "swells").touch()
    await registry.set_lanes(lane("scores", want(artifacts(scale=3.0), "v0"), want(linear)))
    await start_worker(device="cpu", architectures="linear", version_memory_bytes=200_000_000)
    await until(lambda: registry.state("scores", "v1") == "FAILED", 60)
    serving = registry.serving("scores", "v1")
    assert serving is not None
    assert serving.error_code == "LOAD_FAILED"
    assert re.match(r"while it was loaded its model took [23]\d\d MB of memory; it may take 200 MB", serving.error)
    assert serving.error.endswith("(CROSSFADE_VERSION_MEMORY_BYTES)")
    await until(lambda: registry.state("scores", "v0") == "READY", 60)
