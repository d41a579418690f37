"""Callers whom a gate of a rollout in the default lane watches are not taken out of it, whatever gives them a lane."""

from crossfade.common.v1 import policy_pb2
from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.integration.registry.harness import Registry, new_id, plan, refused
from tests.integration.registry.test_segments import delete_segment, lane_of, set_segment


def floor(segment: str) -> service_pb2.RolloutSpec:
    """A rollout with a gate on a segment's callers."""
    spec = plan(500)
    gates = [policy_pb2.Gate(metric=policy_pb2.METRIC_ERRORS, segment=segment, required=True)]
    spec.policy.CopyFrom(policy_pb2.Policy(gates=gates))
    return spec


async def test_a_lane_in_which_nothing_is_stable_is_given_nothing_meanwhile(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    await registry.worker().ready("v1")
    await set_segment(registry, "eu")
    await delete_segment(registry, "eu")
    await registry.publish(segment="eu", without_rollout=True)
    lane = await lane_of(registry)
    assert lane.stable_version == ""
    watching = (await registry.publish(rollout=floor("eu"))).rollout
    start = service_pb2.StartRolloutRequest(
        version="models/m/versions/v2", segment="eu", etag=lane.etag, request_id=new_id(), rollout=plan(500)
    )
    undo = service_pb2.UndoLaneRequest(
        model="models/m", segment="eu", version="v1", etag=lane.etag, request_id=new_id(), force=True
    )
    for asked in (
        set_segment(registry, "eu"),
        set_segment(registry, "eu", version="v2", force=True),
        registry.publish(segment="eu"),
        registry.stub.StartRollout(start),
        registry.stub.UndoLane(undo),
    ):
        said = await refused(asked)
        assert (said.code, said.reason) == ("FAILED_PRECONDITION", "SEGMENT_WATCHED")
        assert "crossfade abort m --rollout 1`" in said.message
    # What waits there, or is loaded for pinned calls, takes nobody.
    await registry.publish(segment="eu", without_rollout=True)
    cancel = service_pb2.CancelRolloutRequest(name=watching.name, etag=watching.etag, request_id=new_id())
    assert (await registry.stub.CancelRollout(cancel)).state == resources_pb2.ROLLOUT_STATE_CANCELLED
    undo.etag, undo.request_id = (await lane_of(registry)).etag, new_id()
    assert (await registry.stub.UndoLane(undo)).stable_version == "v1"


async def test_nor_is_one_whose_first_version_would_be_stable_at_once(registry: Registry) -> None:
    await registry.create()
    await registry.publish(without_rollout=True)
    await registry.publish(segment="eu", without_rollout=True)
    etag = (await registry.model()).lanes[0].etag
    start = service_pb2.StartRolloutRequest(
        version="models/m/versions/v1", etag=etag, request_id=new_id(), rollout=floor("eu")
    )
    await registry.stub.StartRollout(start)
    said = await refused(registry.publish(segment="eu"))
    assert (said.code, said.reason) == ("FAILED_PRECONDITION", "SEGMENT_WATCHED")
