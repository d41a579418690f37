"""Answers in parts through every service: split, judged and rolled back like any other."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossfade.client import PredictError
from crossfade.registry.v1 import resources_pb2
from services.local.stack import Ports, Stack, StackOptions
from tests.e2e.conftest import QUICK, House
from tests.fakes.looping import NEVER, Walk, package_walk, walked
from tests.support.wait import until_async

MODEL = "walk"
PARTS = 6


@pytest.fixture
async def walking(tmp_path: Path) -> AsyncIterator[House]:
    """Everything is up, and v1, a walk, is stable; v2 falls at the third step of some."""
    artifacts = {
        version: package_walk(tmp_path / version, Walk(nan_at=nan_at)).artifact
        for version, nan_at in (("v1", NEVER), ("v2", 3))
    }
    ports = Ports.free()
    async with Stack(StackOptions(tmp_path / "data", ports, restart=False)) as stack:
        built = House(stack, ports, artifacts)
        await built.create(MODEL)
        await built.publish("v1", MODEL)
        await until_async(lambda: answers(built), seconds=60)
        yield built
        await built.close()


def request(number: int) -> dict[str, Any]:
    start = np.random.default_rng(number).random((1, 4), dtype=np.float32)
    # One in three begins where v2 falls.
    return {"start": start + (60 if number % 3 == 0 else 0), "length": np.array([[NEVER]])}


async def answers(house: House) -> bool:
    try:
        return len([part async for part in house.client.predict_stream(MODEL, request(1), max_parts=2)]) == 2
    except PredictError:
        return False


@pytest.mark.timeout(300)
async def test_a_version_whose_streams_break_is_rolled_back(walking: House) -> None:
    seen: Counter[str] = Counter()
    broken: Counter[str] = Counter()
    done = asyncio.Event()

    async def call(number: int) -> None:
        inputs, parts = request(number), []
        try:
            async for part in walking.client.predict_stream(MODEL, inputs, max_parts=PARTS):
                parts.append(part)  # noqa: PERF401 - those before a failure are kept
        except PredictError as error:
            broken[error.reason] += 1
            assert len(parts) == 2
        else:
            assert len(parts) == PARTS
        # All parts of one answer come from one version.
        assert len({part.version for part in parts}) == 1
        seen[parts[0].version] += 1
        for part, expected in zip(parts, walked(inputs["start"], [NEVER], module=Walk(nan_at=NEVER)), strict=False):
            np.testing.assert_allclose(part.outputs["seen"], expected, rtol=1e-3, atol=1e-5)

    async def drive(lane: int) -> None:
        number = lane
        while not done.is_set():
            await call(number)
            number += 8

    load = [asyncio.create_task(drive(lane)) for lane in range(8)]
    published = await walking.publish("v2", MODEL, QUICK)
    rollout = await walking.until_state(
        published.rollout.name, resources_pb2.ROLLOUT_STATE_ROLLED_BACK, resources_pb2.ROLLOUT_STATE_PROMOTED
    )
    done.set()
    await asyncio.gather(*load)
    assert rollout.state == resources_pb2.ROLLOUT_STATE_ROLLED_BACK
    assert rollout.outcome.gate == "errors"
    assert set(seen) == {"v1", "v2"}
    assert set(broken) == {"OUTPUT_NOT_FINITE"}
