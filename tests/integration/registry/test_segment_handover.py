"""A segment's lane that is made while the default lane's stable version is not everywhere yet."""

import pytest

from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.integration.registry.harness import Registry, new_id, plan
from tests.integration.registry.test_segments import lane_of, set_segment


async def arms(registry: Registry, segment: str) -> list[tuple[str, int]]:
    """Versions of a segment's routes, each with the number of Workers that have it."""
    lanes = [lane for lane in await registry.routes() if lane.segment == segment]
    return [(arm.version, len(arm.endpoints)) for lane in lanes for arm in lane.arms]


@pytest.mark.parametrize("made", ["by a publication", "by itself", "by the version's name"])
async def test_whoever_carries_the_default_lanes_callers_carries_them_on_in_a_lane_of_their_own(
    registry: Registry, made: str
) -> None:
    worker = registry.worker()
    await registry.create()
    await registry.publish()
    await worker.ready("v1")
    await registry.publish(rollout=plan(500))
    await worker.ready("v1", "v2", control="v1")
    await registry.promote(await registry.rollout(1))
    # v1 was let go, and is made stable again all the same.
    worker.serving = {key: state for key, state in worker.serving.items() if key[0] == "v2"}
    await worker.report()
    lane = (await registry.model()).lanes[0]
    undo = service_pb2.UndoLaneRequest(model="models/m", etag=lane.etag, request_id=new_id(), force=True)
    assert (await registry.stub.UndoLane(undo)).stable_version == "v1"
    assert await arms(registry, "") == [("v2", 1)]
    if made == "by a publication":
        await registry.publish(segment="eu", rollout=plan(500))
    else:
        await set_segment(registry, version="v1" if made == "by the version's name" else "")
    assert (await lane_of(registry)).stable_version == "v1"
    assert await arms(registry, "eu") == [("v2", 1)]
    await worker.ready("v1", "v2")
    assert await arms(registry, "eu") == await arms(registry, "") == [("v1", 1)]
    states = {one.version: one.state for one in (await lane_of(registry)).versions}
    assert states["v1"] == resources_pb2.VERSION_STATE_STABLE
