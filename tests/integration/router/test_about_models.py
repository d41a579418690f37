"""What callers are told of a model: of the versions that answer them, in their own segment."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from grpc import aio

from crossfade.client import Client, PredictError
from crossfade.predict.v1 import predict_pb2
from crossfade.registry.v1 import resources_pb2
from tests.fakes.worker import FakeWorker
from tests.integration.router.house import ROWS, House
from tests.support.wait import until

EU = (("x-crossfade-segment", "eu"),)


def lane(worker: FakeWorker, segment: str = "", test: FakeWorker | None = None) -> resources_pb2.LaneRoutes:
    """The lane of a segment in which a Worker's version is stable."""
    held = {one.version: [resources_pb2.Endpoint(address=one.address)] for one in (worker, test) if one is not None}
    stable = resources_pb2.RouteArm(
        arm="stable", version=worker.version, share_bps=10_000, endpoints=held[worker.version]
    )
    return resources_pb2.LaneRoutes(
        model="churn",
        segment=segment,
        epoch=1,
        arms=[stable],
        wanted=[resources_pb2.WantedVersion(version=version, endpoints=where) for version, where in held.items()],
        stable_version=worker.version,
        test_version=test.version if test is not None else "",
    )


async def use(house: House, *lanes: resources_pb2.LaneRoutes) -> None:
    before = house.app.proxy.table.revision
    await house.registry.set_lanes(*lanes)
    await until(lambda: house.app.proxy.table.revision > before)


@pytest.fixture
async def own(house: House) -> AsyncIterator[FakeWorker]:
    """What the segment eu has of its own: a version whose classes are in another order."""
    worker = FakeWorker("v4")
    worker.classes = ["churn", "keep"]
    await worker.start()
    await use(house, lane(house.stable, test=house.test), lane(worker, "eu"))
    yield worker
    await worker.stop()


async def ready(house: House, version: str = "", metadata: Any = ()) -> bool:
    async with aio.insecure_channel(house.app.address) as channel:
        method: Any = channel.unary_unary("/inference.GRPCInferenceService/ModelReady")
        request = predict_pb2.ModelReadyRequest(name="churn", version=version)
        answer = await method(request.SerializeToString(), metadata=metadata, timeout=5)
        return predict_pb2.ModelReadyResponse.FromString(answer).ready


async def test_classes_are_those_of_the_version_that_answers_the_callers_segment(house: House, own: FakeWorker) -> None:
    answer = await house.client.predict("churn", ROWS, segment="eu")
    assert answer.version == own.version
    assert await house.client.classes("churn", segment="eu") == ("churn", "keep")
    assert await house.client.classes("churn", segment="eu", version=answer.version) == ("churn", "keep")
    with Client(house.app.address) as blocking:
        assert await asyncio.to_thread(blocking.classes, "churn", segment="eu") == ("churn", "keep")
    # Of the default lane, and of a segment that has no lane.
    for segment in ("", "us"):
        assert await house.client.classes("churn", segment=segment) == ("keep", "churn")
    with pytest.raises(PredictError, match="versions that a pin can reach now: v1, v2"):
        await house.client.classes("churn", version=own.version)


async def test_a_version_of_a_segment_alone_is_ready_for_its_callers(house: House, own: FakeWorker) -> None:
    assert await ready(house, own.version, EU)
    assert not await ready(house, own.version)
    assert not await ready(house, "v1", EU)
    await use(house, lane(house.stable), resources_pb2.LaneRoutes(model="churn", segment="eu"))
    # Nothing is stable there, so that its callers have the default lane's.
    assert await ready(house, "", EU)
    assert await house.client.classes("churn", segment="eu") == ("keep", "churn")


async def test_a_version_is_asked_about_by_its_alias(house: House, own: FakeWorker) -> None:
    house.test.classes = ["yes", "no"]
    assert await house.client.classes("churn", version="@test") == ("yes", "no")
    assert await house.client.classes("churn", version="@stable") == ("keep", "churn")
    for alias, known in (("@stable", True), ("@test", True), ("@previous", False)):
        assert await ready(house, alias) is known


async def test_until_workers_hold_what_is_stable_the_version_that_answers_is_told_of(
    house: House, own: FakeWorker
) -> None:
    handed = lane(house.stable)
    handed.stable_version = "v3"
    handed.wanted.add(version="v3")
    await use(house, handed, lane(own, "eu"))
    assert (await house.client.predict("churn", ROWS)).version == "v1"
    assert await house.client.classes("churn") == ("keep", "churn")
    assert await ready(house)
