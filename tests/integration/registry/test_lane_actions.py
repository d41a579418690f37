"""Load, undo and withdraw over RPC."""

import time

import pytest

from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.fakes.clock import ManualClock, RunningClock
from tests.integration.registry.harness import Registry, Start, new_id, plan, refused
from tests.support.wait import until_async


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
    assert (lane.stable_version, lane.previous_version, lane.epoch) == ("v2", "", before.epoch + 1)
    assert await registry.states() == {"v1": "DEPRECATED", "v2": "STABLE", "v3": "DEPRECATED"}
    event = (await registry.events())[-1]
    assert (event.type, event.reason, event.actor) == ("LANE_UNDONE", "Callers complain.", "local:user")
    assert event.outcome.reason == "v3 is DEPRECATED: Callers complain."
    (routes,) = await registry.routes()
    assert [(arm.arm, arm.version, arm.share_bps) for arm in routes.arms] == [("stable", "v2", 10_000)]


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


async def test_a_lane_whose_first_version_is_stable_has_nothing_to_go_back_to(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    said = await refused(undo(registry))
    assert (said.code, said.reason) == ("FAILED_PRECONDITION", "TRANSITION_ILLEGAL")
    assert "no version to go back to" in said.message


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


async def test_a_lane_that_has_changed_is_read_again_before_a_version_is_withdrawn(registry: Registry) -> None:
    await registry.create()
    for pending in (False, True, True):
        await registry.publish(without_rollout=pending)
    read = (await registry.model()).lanes[0].etag

    async def withdraw(version: str) -> None:
        name = f"models/m/versions/{version}"
        request = service_pb2.WithdrawVersionRequest(name=name, etag=read, request_id=new_id())
        await registry.stub.WithdrawVersion(request)

    await withdraw("v2")
    said = await refused(withdraw("v3"))
    assert (said.code, said.reason) == ("ABORTED", "ETAG_STALE")
    assert await registry.states() == {"v1": "STABLE", "v2": "WITHDRAWN", "v3": "PENDING"}


async def test_a_version_is_withdrawn_in_the_segment_that_is_named(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    published = await registry.publish(segment="eu", without_rollout=True)
    (lane,) = [lane for lane in (await registry.model()).lanes if lane.segment == "eu"]
    request = service_pb2.WithdrawVersionRequest(
        name=published.version.name, segment="eu", etag=lane.etag, request_id=new_id()
    )
    withdrawn = await registry.stub.WithdrawVersion(request)
    assert [(one.segment, one.state) for one in withdrawn.states] == [("eu", resources_pb2.VERSION_STATE_WITHDRAWN)]
    assert [(event.type, event.segment) for event in (await registry.events())[-1:]] == [("VERSION_WITHDRAWN", "eu")]


async def load(registry: Registry, seconds: float | None, **changes: object) -> resources_pb2.Lane:
    """Loads v2 by hand."""
    lane = (await registry.model()).lanes[0]
    values = {"name": "models/m/versions/v2", "etag": lane.etag, "request_id": new_id(), **changes}
    request = service_pb2.LoadVersionRequest(**values)  # type: ignore[arg-type]  # by name
    if seconds is not None:
        request.ttl.FromMilliseconds(int(seconds * 1000))
    return await registry.stub.LoadVersion(request)


async def wanted(registry: Registry) -> dict[str, int]:
    """The versions that Workers are to hold, and how many addresses each has."""
    lanes = await registry.routes()
    return {one.version: len(one.endpoints) for one in lanes[0].wanted}


async def test_a_version_is_loaded_for_a_while_and_let_go(start: Start) -> None:
    clock = RunningClock()
    registry = await start(clock)
    await registry.create()
    worker = registry.worker()
    await registry.publish()
    await worker.ready("v1")
    await registry.publish(without_rollout=True)
    lane = await load(registry, 60.5)
    assert [one.version for one in lane.loaded] == ["v2"]
    await worker.ready("v1", "v2")
    assert await wanted(registry) == {"v1": 1, "v2": 1}
    assert await registry.states() == {"v1": "STABLE", "v2": "PENDING"}
    clock.advance(60.5)

    async def gone() -> bool:
        return await wanted(registry) == {"v1": 1}

    await until_async(gone)
    assert [event.type for event in await registry.events()][-2:] == ["VERSION_LOADED", "VERSION_UNLOADED"]
    by_default = await load(registry, None)
    assert by_default.loaded[0].expire_time.seconds > time.time() + 3000
    assert (await load(registry, 0)).loaded == []


async def test_of_several_versions_each_is_let_go_at_its_own_time(start: Start) -> None:
    clock = ManualClock()
    registry = await start(clock, sweep_seconds=60.0)
    await registry.create()
    await registry.publish()
    for version, seconds in (("v2", 600), ("v3", 60), ("v4", 300)):
        await registry.publish(without_rollout=True)
        await load(registry, seconds, name=f"models/m/versions/{version}")
    for passes, left in ((59, ["v2", "v3", "v4"]), (1, ["v2", "v4"]), (240, ["v2"]), (300, [])):
        clock.advance(passes)
        await registry.app.upkeep.once()
        assert [one.version for one in (await registry.model()).lanes[0].loaded] == left


@pytest.mark.parametrize(
    ("seconds", "changes", "code", "reason"),
    [
        (-1.0, {}, "INVALID_ARGUMENT", "FIELD_INVALID"),
        (0.5, {}, "INVALID_ARGUMENT", "FIELD_INVALID"),
        (8 * 86_400.0, {}, "INVALID_ARGUMENT", "FIELD_INVALID"),
        (60.0, {"name": "models/m/versions/v9"}, "NOT_FOUND", "VERSION_NOT_FOUND"),
        (60.0, {"etag": "old"}, "ABORTED", "ETAG_STALE"),
    ],
)
async def test_loading_is_refused(
    registry: Registry, seconds: float, changes: dict[str, str], code: str, reason: str
) -> None:
    await registry.create()
    await registry.publish()
    await registry.publish(without_rollout=True)
    said = await refused(load(registry, seconds, **changes))
    assert (said.code, said.reason) == (code, reason)
