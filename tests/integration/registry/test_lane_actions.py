"""Undo and withdraw over RPC."""

import pytest

from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.integration.registry.harness import Registry, new_id, plan, refused


async def undo(registry: Registry, **changes: object) -> resources_pb2.Lane:
    """Undoes the default lane as it is."""
    lane = (await registry.model()).lanes[0]
    values = {"model": "models/m", "etag": lane.etag, "request_id": new_id(), **changes}
    return await registry.stub.UndoLane(service_pb2.UndoLaneRequest(**values))  # type: ignore[arg-type]  # by name


async def promoted(registry: Registry) -> None:
    """v1, v2 and v3 were stable one after the other; one Worker has all of them."""
    await registry.create()
    worker = registry.worker()
    await registry.publish()
    await worker.ready("v1")
    for number, control in ((1, "v1"), (2, "v2")):
        await registry.publish(rollout=plan(500))
        await worker.ready("v1", "v2", "v3", control=control)
        await registry.promote(await registry.rollout(number))


async def test_undo_is_one_transaction_of_states_routes_and_an_event(registry: Registry) -> None:
    await promoted(registry)
    before = (await registry.model()).lanes[0]
    lane = await undo(registry, reason="Callers complain.")
    assert (lane.stable_version, lane.previous_version, lane.epoch) == ("v2", "v3", before.epoch + 1)
    assert await registry.states() == {"v1": "DEPRECATED", "v2": "STABLE", "v3": "DEPRECATED"}
    event = (await registry.events())[-1]
    assert (event.type, event.reason, event.actor) == ("LANE_UNDONE", "Callers complain.", "local:user")
    watch = registry.stub.WatchRoutes(service_pb2.WatchRoutesRequest())
    async for answer in watch:
        (routes,) = answer.lanes
        assert [(arm.arm, arm.version, arm.share_bps) for arm in routes.arms] == [("stable", "v2", 10_000)]
        break
    watch.cancel()


async def test_undo_to_any_earlier_version_and_of_a_bad_one(registry: Registry) -> None:
    await promoted(registry)
    lane = await undo(registry, version="v1", bad=True)
    assert lane.stable_version == "v1"
    assert await registry.states() == {"v1": "STABLE", "v2": "DEPRECATED", "v3": "FAILED"}
    said = await refused(undo(registry, version="v3"))
    assert (said.code, said.reason) == ("FAILED_PRECONDITION", "TRANSITION_ILLEGAL")
    said = await refused(undo(registry, version="v9"))
    assert (said.code, said.reason) == ("NOT_FOUND", "VERSION_NOT_FOUND")


@pytest.mark.parametrize(
    ("changes", "code", "reason"),
    [
        ({"etag": ""}, "INVALID_ARGUMENT", "ETAG_MISSING"),
        ({"etag": "old"}, "ABORTED", "ETAG_STALE"),
        ({"request_id": ""}, "INVALID_ARGUMENT", "REQUEST_ID_MISSING"),
        ({"model": "models/other"}, "NOT_FOUND", "MODEL_NOT_FOUND"),
        ({"segment": "eu"}, "NOT_FOUND", "LANE_NOT_FOUND"),
    ],
)
async def test_undo_is_refused(registry: Registry, changes: dict[str, str], code: str, reason: str) -> None:
    await promoted(registry)
    said = await refused(undo(registry, **changes))
    assert (said.code, said.reason) == (code, reason)
    assert (await registry.model()).lanes[0].stable_version == "v3"


async def test_undo_during_a_rollout(registry: Registry) -> None:
    await promoted(registry)
    await registry.publish(rollout=plan(500))
    said = await refused(undo(registry))
    assert (said.code, said.reason) == ("FAILED_PRECONDITION", "ROLLOUT_LIVE")
    await undo(registry, cancel_rollout=True)
    assert (await registry.rollout(3)).state == resources_pb2.ROLLOUT_STATE_CANCELLED
    assert (await registry.states())["v4"] == "PENDING"


async def test_a_withdrawn_version_is_never_tested(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    await registry.publish(without_rollout=True)
    lane = (await registry.model()).lanes[0]
    request = service_pb2.WithdrawVersionRequest(
        name="models/m/versions/v2", etag=lane.etag, reason="Wrong data.", request_id=new_id()
    )
    withdrawn = await registry.stub.WithdrawVersion(request)
    assert [one.state for one in withdrawn.states] == [resources_pb2.VERSION_STATE_WITHDRAWN]
    assert await registry.stub.WithdrawVersion(request) == withdrawn
    lane = (await registry.model()).lanes[0]
    start = service_pb2.StartRolloutRequest(version="models/m/versions/v2", etag=lane.etag, request_id=new_id())
    said = await refused(registry.stub.StartRollout(start))
    assert (said.code, said.reason) == ("FAILED_PRECONDITION", "TRANSITION_ILLEGAL")
    assert (await registry.events())[-1].type == "VERSION_WITHDRAWN"
