"""What was production when, although the clocks of two replicas are minutes apart."""

from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.fakes.clock import ManualClock
from tests.integration.registry.harness import Start, new_id, plan

TUESDAY = 1_732_000_000.0


async def test_of_changes_noted_in_another_order_the_latest_is_told_by_its_number(start: Start) -> None:
    ahead, behind = ManualClock(TUESDAY + 200.0), ManualClock(TUESDAY)
    first, second = await start(ahead, sweep_seconds=60.0), await start(behind, sweep_seconds=60.0)
    await second.create()
    await second.publish()
    worker = second.worker()
    await worker.ready("v1")
    await second.publish(rollout=plan(500))
    await worker.ready("v1", "v2", control="v1")
    await first.promote(await first.rollout(1))
    lane = (await second.model()).lanes[0]
    undo = service_pb2.UndoLaneRequest(model="models/m", etag=lane.etag, request_id=new_id())
    await second.stub.UndoLane(undo)
    request = service_pb2.GetModelRequest(name="models/m")
    request.read_time.FromMicroseconds(int((TUESDAY + 250.0) * 1e6))
    for registry in (first, second):
        (lane,) = (await registry.stub.GetModel(request)).lanes
        assert lane.stable_version == "v1"
        assert {one.version: one.state for one in lane.versions} == {
            "v1": resources_pb2.VERSION_STATE_STABLE,
            "v2": resources_pb2.VERSION_STATE_DEPRECATED,
        }
