"""What was production when: by time and by revision, after everything has changed."""

import asyncio
from datetime import UTC, datetime

import psycopg
from google.protobuf import timestamp_pb2

from crossfade.registry.v1 import resources_pb2, service_pb2
from registry.database.migrations.versions import r0004_first_history
from tests.fakes.clock import ManualClock
from tests.integration.registry.harness import FAILED, Registry, Start, new_id, plan, refused
from tests.integration.registry.test_segments import lane_of, set_segment

TUESDAY = 1_732_000_000.0


async def model_at(registry: Registry, when: float = 0.0, revision: int = 0) -> resources_pb2.Model:
    """The model as of a moment."""
    request = service_pb2.GetModelRequest(name="models/m", revision=revision)
    if when:
        request.read_time.FromMicroseconds(int(when * 1e6))
    return await registry.stub.GetModel(request)


def states(lane: resources_pb2.Lane) -> dict[str, str]:
    """A lane's versions and their states."""
    names = resources_pb2.VersionState
    return {one.version: names.Name(one.state).removeprefix("VERSION_STATE_") for one in lane.versions}


async def lived(start: Start) -> tuple[Registry, dict[str, int]]:
    """v1 stable at 0; v2 tested from 100 and promoted at 200; v3 tested from 300, failed at 400; v2 undone at 500."""
    clock = ManualClock(TUESDAY)
    registry = await start(clock, sweep_seconds=60.0)
    await registry.create()
    clock.advance(1)
    await registry.publish()
    worker = registry.worker()
    await worker.ready("v1")
    clock.advance(99)
    await registry.publish(rollout=plan(500))
    await worker.ready("v1", "v2", control="v1")
    clock.advance(100)
    await registry.promote(await registry.rollout(1))
    clock.advance(100)
    await registry.publish(rollout=plan(500))
    await worker.ready("v1", "v2", "v3", control="v2")
    clock.advance(100)
    await registry.rollback(await registry.rollout(2))
    clock.advance(100)
    lane = (await registry.model()).lanes[0]
    await registry.stub.UndoLane(
        service_pb2.UndoLaneRequest(model="models/m", bad=True, etag=lane.etag, request_id=new_id())
    )
    clock.advance(100)
    revisions = {event.type: event.revision for event in await registry.events()}
    return registry, revisions


async def test_as_of_a_time(start: Start) -> None:
    registry, _ = await lived(start)
    expected = {
        50: ("v1", "", {"v1": "STABLE"}),
        150: ("v1", "models/m/rollouts/1", {"v1": "STABLE", "v2": "TESTING"}),
        250: ("v2", "", {"v1": "DEPRECATED", "v2": "STABLE"}),
        350: ("v2", "models/m/rollouts/2", {"v1": "DEPRECATED", "v2": "STABLE", "v3": "TESTING"}),
        450: ("v2", "", {"v1": "DEPRECATED", "v2": "STABLE", "v3": "FAILED"}),
        550: ("v1", "", {"v1": "STABLE", "v2": "FAILED", "v3": "FAILED"}),
    }
    for after, (stable, rollout, known) in expected.items():
        (lane,) = (await model_at(registry, TUESDAY + after)).lanes
        assert (lane.stable_version, lane.rollout, states(lane)) == (stable, rollout, known), after
        assert not lane.etag
    (lane,) = (await model_at(registry, TUESDAY + 450)).lanes
    assert lane.stable_since == timestamp_pb2.Timestamp(seconds=int(TUESDAY) + 200)


async def test_as_of_a_revision(start: Start) -> None:
    registry, revisions = await lived(start)
    promoted, failed = revisions["ROLLOUT_PROMOTED"], revisions["ROLLOUT_ROLLED_BACK"]
    for revision, stable in ((promoted - 1, "v1"), (promoted, "v2"), (failed, "v2"), (revisions["LANE_UNDONE"], "v1")):
        (lane,) = (await model_at(registry, revision=revision)).lanes
        assert lane.stable_version == stable, revision
    (lane,) = (await model_at(registry, revision=failed - 1)).lanes
    assert states(lane)["v3"] == "TESTING"


async def test_a_rollout_is_known_although_the_clocks_of_replicas_differ(start: Start) -> None:
    ahead, behind = ManualClock(TUESDAY + 300.0), ManualClock(TUESDAY)
    first, second = await start(ahead, sweep_seconds=60.0), await start(behind, sweep_seconds=60.0)
    await first.create()
    await first.publish()
    worker = second.worker()
    await first.publish(rollout=plan(500))
    await first.publish(rollout=plan(500))
    await worker.ready("v1", "v2", control="v1")
    await second.rollback(await second.rollout(1))
    revision = (await second.events())[-1].revision
    for registry in (first, second):
        (lane,) = (await model_at(registry, revision=revision)).lanes
        assert (lane.rollout, states(lane)["v3"]) == ("models/m/rollouts/2", "TESTING")


async def test_before_anything_was_published_there_is_no_lane(start: Start) -> None:
    registry, _ = await lived(start)
    assert list((await model_at(registry, TUESDAY + 0.5)).lanes) == []


async def test_a_deleted_segment_is_in_the_past_still(start: Start) -> None:
    registry, _ = await lived(start)
    model = await registry.model()
    set_segment = service_pb2.SetSegmentRequest(model="models/m", segment="eu", etag=model.etag, request_id=new_id())
    lane = await registry.stub.SetSegment(set_segment)
    revision = (await registry.events())[-1].revision
    await registry.stub.DeleteSegment(
        service_pb2.DeleteSegmentRequest(model="models/m", segment="eu", etag=lane.etag, request_id=new_id())
    )
    past = await model_at(registry, revision=revision)
    assert {one.segment: one.stable_version for one in past.lanes} == {"": "v1", "eu": "v1"}
    now = await model_at(registry, revision=revision + 1)
    assert {one.segment: one.stable_version for one in now.lanes} == {"": "v1", "eu": ""}


async def test_what_changes_in_two_lanes_at_once_is_kept_of_both(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    worker = registry.worker()
    worker.set("v1", FAILED, error_code="LOAD_FAILED")
    await worker.report()
    await set_segment(registry)
    await registry.publish(rollout=plan(500))
    request = service_pb2.StartRolloutRequest(
        version="models/m/versions/v2",
        segment="eu",
        rollout=plan(500),
        etag=(await lane_of(registry)).etag,
        request_id=new_id(),
    )
    await registry.stub.StartRollout(request)
    # No Worker ever had v1 ready, so that v2 takes its place in both.
    await worker.ready("v2")
    first, second = (await registry.events())[-2:]
    assert (first.type, second.type) == ("ROLLOUT_PROMOTED", "ROLLOUT_PROMOTED")
    assert (first.segment, second.segment, first.revision) == ("", "eu", second.revision)
    for revision, known in (
        (first.revision - 1, {"v1": "STABLE", "v2": "TESTING"}),
        (first.revision, {"v1": "DEPRECATED", "v2": "STABLE"}),
    ):
        past = await model_at(registry, revision=revision)
        assert {lane.segment: states(lane) for lane in past.lanes} == {"": known, "eu": known}


async def test_refusals(start: Start) -> None:
    registry, revisions = await lived(start)
    early = await refused(model_at(registry, TUESDAY - 1))
    assert (early.code, early.reason) == ("OUT_OF_RANGE", "HISTORY_UNKNOWN")
    assert early.message.endswith("created after that moment, at 2024-11-19 07:06:40 UTC; ask for a later one")
    late = await refused(model_at(registry, revision=revisions["LANE_UNDONE"] + 100))
    assert (late.code, late.reason) == ("OUT_OF_RANGE", "HISTORY_UNKNOWN")
    assert (await refused(model_at(registry, TUESDAY, revision=3))).field == "revision"
    assert (await refused(model_at(registry, revision=-1))).field == "revision"
    request = service_pb2.GetModelRequest(name="models/none", revision=1)
    assert (await refused(registry.stub.GetModel(request))).reason == "MODEL_NOT_FOUND"


async def test_before_its_creation_a_model_has_no_past(start: Start) -> None:
    clock = ManualClock(TUESDAY)
    registry = await start(clock, sweep_seconds=60.0, event_days=30.0)
    await registry.create("other")
    await registry.publish("other")
    await registry.create()
    (created,) = await registry.events()
    assert created.revision > 1
    for revision in range(1, created.revision):
        early = await refused(model_at(registry, revision=revision))
        assert (early.code, early.reason) == ("OUT_OF_RANGE", "HISTORY_UNKNOWN")
        assert f"created after that moment, with revision {created.revision}" in early.message
    assert list((await model_at(registry, revision=created.revision)).lanes) == []
    # When the event of its creation was removed, nothing says whether it was there before its first version.
    for number in range(100):
        change = service_pb2.UpdateModelRequest(request_id=new_id())
        change.model.name, change.model.description = "models/m", f"text {number}"
        await registry.stub.UpdateModel(change)
    await registry.publish()
    clock.advance(40 * 86_400.0)
    await asyncio.to_thread(registry.app.retention.forget, deadline=float("inf"))
    assert (await refused(model_at(registry, revision=1))).reason == "HISTORY_UNKNOWN"
    (lane,) = (await model_at(registry, revision=(await registry.events())[-1].revision)).lanes
    assert lane.stable_version == "v1"


async def test_before_the_history_of_an_older_database_nothing_is_said(
    start: Start, shared_database: "psycopg.Connection[tuple[object, ...]]"
) -> None:
    registry, revisions = await lived(start)
    # As the migration leaves a database that was there before it.
    shared_database.execute("DELETE FROM state_history")
    shared_database.execute(r0004_first_history.STATEMENT.encode())
    noted = datetime.fromtimestamp(TUESDAY + 550, UTC)
    shared_database.execute(b"UPDATE state_history SET noted = %s", (noted,))
    for past in (model_at(registry, TUESDAY + 250), model_at(registry, revision=revisions["ROLLOUT_PROMOTED"])):
        refusal = await refused(past)
        assert (refusal.reason, "when the Registry was upgraded" in refusal.message) == ("HISTORY_UNKNOWN", True)
    (lane,) = (await model_at(registry, TUESDAY + 560)).lanes
    assert (lane.stable_version, lane.stable_since.ToSeconds()) == ("v1", int(TUESDAY) + 500)
