"""What a segment's callers get by the default lane, once their own lane is taken away."""

import psycopg

from crossfade.registry.v1 import resources_pb2, service_pb2
from registry.service.segment_rules import MOST_SEGMENTS
from tests.integration.registry.harness import Registry, new_id, plan, refused
from tests.integration.registry.test_segments import delete_segment, routes, set_segment

Connection = psycopg.Connection[tuple[object, ...]]


async def failed_in_europe(registry: Registry) -> None:
    """v1 is stable in both lanes, and v2 has failed in Europe."""
    await registry.create()
    await registry.publish()
    await set_segment(registry)
    await registry.worker().ready("v1", "v2", control="v1")
    published = await registry.publish(segment="eu", rollout=plan(500))
    await registry.rollback(await registry.rollout(int(published.rollout.name.rpartition("/")[2])))


async def start_in_default(registry: Registry, version: str) -> resources_pb2.Rollout:
    """A rollout of a version in the default lane."""
    etag = next(lane.etag for lane in (await registry.model()).lanes if not lane.segment)
    start = service_pb2.StartRolloutRequest(
        version=f"models/m/versions/{version}", rollout=plan(500), etag=etag, request_id=new_id()
    )
    return await registry.stub.StartRollout(start)


async def test_callers_are_not_handed_to_a_version_that_failed_for_them(registry: Registry) -> None:
    await failed_in_europe(registry)
    rollout = await start_in_default(registry, "v2")
    # While it is tested there a part of them would have it, and all of them once it is stable.
    for _ in ("tested", "stable"):
        said = await refused(delete_segment(registry))
        assert (said.code, said.reason) == ("FAILED_PRECONDITION", "VERSION_REFUSED")
        assert (
            "v2 is FAILED in segment eu, and the segment's callers would get it from the default lane" in said.message
        )
        current = await registry.rollout(int(rollout.name.rpartition("/")[2]))
        if current.state == resources_pb2.ROLLOUT_STATE_RUNNING:
            await registry.promote(current)
    assert (await routes(registry))["eu"].version == "v1"
    await delete_segment(registry, force=True)
    assert {segment: arm.version for segment, arm in (await routes(registry)).items()} == {"": "v2"}


async def test_callers_are_not_handed_to_a_rollout_that_waits_with_a_version_that_failed_for_them(
    registry: Registry,
) -> None:
    """It would begin by itself, and give it to them."""
    await failed_in_europe(registry)
    # v3 is tested in the default lane, and v2 waits behind it.
    live = await registry.publish(rollout=plan(500))
    waiting = await start_in_default(registry, "v2")
    assert waiting.state == resources_pb2.ROLLOUT_STATE_QUEUED
    said = await refused(delete_segment(registry))
    assert (said.code, said.reason, said.metadata["version"]) == ("FAILED_PRECONDITION", "VERSION_REFUSED", "v2")
    await registry.rollback(await registry.rollout(int(live.rollout.name.rpartition("/")[2])))
    assert (await routes(registry))["eu"].version == "v1"
    await delete_segment(registry, force=True)


async def test_callers_are_not_handed_to_a_lane_that_has_nothing(registry: Registry) -> None:
    await registry.create()
    await registry.publish(without_rollout=True, segment="us")
    await set_segment(registry, segment="eu", version="v1", force=True)
    said = await refused(delete_segment(registry))
    assert (said.code, said.reason) == ("FAILED_PRECONDITION", "NO_STABLE_VERSION")
    await delete_segment(registry, force=True)


async def test_a_lane_in_which_nothing_is_stable_is_taken_away_as_it_is(registry: Registry) -> None:
    """Its callers come by the default lane already."""
    await registry.create()
    await registry.publish(segment="eu", without_rollout=True)
    assert {lane.segment: lane.stable_version for lane in (await registry.model()).lanes} == {"": "", "eu": ""}
    await delete_segment(registry)


async def test_segments_are_bounded(registry: Registry, shared_database: Connection) -> None:
    await registry.create()
    await registry.publish()
    await set_segment(registry, segment="s0")
    copies = """
        INSERT INTO lanes (model, segment, stable_version, stable_since, stable_seen, previous_version,
                           handover_version, handover_offset, live, queued, epoch, slice_seconds, test_version,
                           test_bps, control_version, control_bps, split_version, split_bps, next_offset, loaded, etag)
        SELECT model, 's' || n::text, stable_version, stable_since, stable_seen, previous_version, handover_version,
               handover_offset, live, queued, epoch, slice_seconds, test_version, test_bps, control_version,
               control_bps, split_version, split_bps, next_offset, loaded, etag
        FROM lanes, generate_series(1, %s) AS n WHERE model = 'm' AND segment = 's0'
        """
    shared_database.execute(copies, (MOST_SEGMENTS - 2,))
    await set_segment(registry, segment="last")
    for making in (set_segment(registry, segment="eu"), registry.publish(segment="eu", without_rollout=True)):
        said = await refused(making)
        assert (said.code, said.reason) == ("FAILED_PRECONDITION", "TOO_MANY_SEGMENTS")
        assert "`crossfade segment delete m SEGMENT`" in said.message
    await registry.publish(segment="last", without_rollout=True)
    await delete_segment(registry, segment="s0")
    await set_segment(registry, segment="eu")
