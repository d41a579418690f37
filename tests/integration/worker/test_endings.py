"""Models of other people's code that end their process, hang or take all memory: the others go on."""

import re
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
import torch
from grpc import aio

from crossfade.artifact import Architecture, package
from crossfade.artifact.building import build
from tests.fakes.models import CLASSES, Packaged, reference_rows
from tests.fakes.registry import FakeRegistry, lane
from tests.support.installing import install
from tests.support.wait import until

EXIT, SYSTEM_EXIT, SEGFAULT, INTERRUPT, LEAK, SLEEP, LOOP = (float(number) for number in range(50, 57))
LEAK_BYTES = 20_000_000

HOUSE = f"""
import ctypes, os, sys, time
from pathlib import Path

from torch import nn

kept = []


class Linear(nn.Linear):
    def __init__(self):
        super().__init__(4, 3)
        beside = Path(__file__)
        if beside.with_name("exits").exists():
            os._exit(0)
        if beside.with_name("swells").exists():
            kept.append(b"1" * 300_000_000)
            time.sleep(600)

    def forward(self, rows):
        match float(rows[0, 0]):
            case {EXIT}:
                os._exit(0)
            case {SYSTEM_EXIT}:
                sys.exit("no licence")
            case {SEGFAULT}:
                ctypes.string_at(0)
            case {INTERRUPT}:
                raise KeyboardInterrupt
            case {LEAK}:
                kept.append(b"1" * {LEAK_BYTES})
            case {SLEEP}:
                time.sleep(600)
            case {LOOP}:
                while True:
                    pass
        return super().forward(rows)
"""


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that ends its process when it is told to; its folder."""
    folder = install(tmp_path / "house", "house_nets", {"linear": "house_nets:Linear"}, HOUSE)
    monkeypatch.syspath_prepend(str(folder))
    # Another test's package of the same name may be imported.
    monkeypatch.delitem(sys.modules, "house_nets", raising=False)
    return folder


@pytest.fixture
def linear(house: Path, tmp_path: Path) -> Packaged:
    """Its weights."""
    del house
    torch.manual_seed(4)
    module, rows = build(Architecture("linear")), reference_rows()
    of = Architecture("linear")
    return Packaged(
        package(module, architecture=of, to=tmp_path / "linear", example=rows[:16], reference=rows, classes=CLASSES)
    )


def told(what: float) -> Any:
    """A row that the model does that for."""
    row = reference_rows(1)
    row[0, 0] = what
    return row


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
    await start_worker(architectures="linear", version_memory_bytes=300_000_000)
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
    await start_worker(architectures="linear", version_memory_bytes=200_000_000)
    await until(lambda: registry.state("scores", "v1") == "FAILED", 60)
    serving = registry.serving("scores", "v1")
    assert serving is not None
    assert serving.error_code == "LOAD_FAILED"
    assert re.match(r"while it was loaded its model took [23]\d\d MB of memory; it may take 200 MB", serving.error)
    assert serving.error.endswith("(CROSSFADE_VERSION_MEMORY_BYTES)")
    await until(lambda: registry.state("scores", "v0") == "READY", 60)
