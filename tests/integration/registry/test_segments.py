"""Segments: lanes of their own, and their end."""

import pytest

from crossfade.common.v1 import policy_pb2
from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.integration.registry.harness import Registry, new_id, plan, refused, signature, version


async def set_segment(registry: Registry, segment: str = "eu", **changes: object) -> resources_pb2.Lane:
    """Gives a segment a lane."""
    etag = (await registry.model()).etag
    values = {"model": "models/m", "segment": segment, "etag": etag, "request_id": new_id(), **changes}
    return await registry.stub.SetSegment(service_pb2.SetSegmentRequest(**values))  # type: ignore[arg-type]  # by name


async def lane_of(registry: Registry, segment: str = "eu") -> resources_pb2.Lane:
    """The segment's lane."""
    return next(lane for lane in (await registry.model()).lanes if lane.segment == segment)


async def delete_segment(registry: Registry, segment: str = "eu", **changes: object) -> resources_pb2.Model:
    """Takes a segment's lane away."""
    lane = await lane_of(registry, segment)
    values = {"model": "models/m", "segment": segment, "etag": lane.etag, "request_id": new_id(), **changes}
    request = service_pb2.DeleteSegmentRequest(**values)  # type: ignore[arg-type]  # by name
    return await registry.stub.DeleteSegment(request)


async def routes(registry: Registry) -> dict[str, resources_pb2.RouteArm]:
    """The stable arm of each segment in the routes' snapshot."""
    return {lane.segment: lane.arms[-1] for lane in await registry.routes() if lane.arms}


async def test_a_segment_begins_with_the_default_lanes_stable_version(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    lane = await set_segment(registry, reason="Europe is judged by itself.")
    assert (lane.segment, lane.stable_version) == ("eu", "v1")
    assert [(one.version, one.state) for one in lane.versions] == [("v1", resources_pb2.VERSION_STATE_STABLE)]
    assert (await routes(registry))["eu"].version == "v1"
    event = (await registry.events())[-1]
    assert (event.type, event.segment, event.reason) == ("SEGMENT_SET", "eu", "Europe is judged by itself.")


async def test_its_rollouts_leave_the_default_lane_alone(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    await set_segment(registry)
    assert (await registry.events())[-1].reason == "Segment eu has v1 as a stable version of its own."
    published = await registry.publish(segment="eu", rollout=plan(500))
    worker = registry.worker()
    await worker.ready("v1", "v2", control="v1")
    number = int(published.rollout.name.rpartition("/")[2])
    await registry.promote(await registry.rollout(number))
    model = await registry.model()
    assert {lane.segment: lane.stable_version for lane in model.lanes} == {"": "v1", "eu": "v2"}
    assert {name: arm.version for name, arm in (await routes(registry)).items()} == {"": "v1", "eu": "v2"}


async def test_set_again_changes_nothing_and_another_version_is_refused(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    await registry.publish(without_rollout=True)
    before = await set_segment(registry)
    assert await set_segment(registry) == before
    assert await set_segment(registry, version="v1") == before
    refusal = await refused(set_segment(registry, version="v2"))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "TRANSITION_ILLEGAL")
    assert "start a rollout of v2" in refusal.message


async def test_refusals_of_set(registry: Registry) -> None:
    await registry.create()
    assert (await refused(set_segment(registry))).reason == "NO_STABLE_VERSION"
    assert (await refused(set_segment(registry, version="v9"))).reason == "VERSION_NOT_FOUND"
    assert (await refused(set_segment(registry, segment=""))).field == "segment"
    refusal = await refused(set_segment(registry, etag="old"))
    assert refusal.reason == "ETAG_STALE"
    assert "m or one of its lanes has changed since you read it: model created, " in refusal.message
    assert (await refused(set_segment(registry, etag=""))).reason == "ETAG_MISSING"


async def test_deleted_its_requests_belong_to_the_default_lane(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    await set_segment(registry)
    revision = (await registry.events())[-1].revision
    watch = registry.stub.WatchRoutes(service_pb2.WatchRoutesRequest(start_revision=revision))
    model = await delete_segment(registry, reason="Europe is like the rest.")
    assert [lane.segment for lane in model.lanes] == [""]
    change = await watch.read()
    while isinstance(change, service_pb2.WatchRoutesResponse) and not change.lanes:
        change = await watch.read()
    assert isinstance(change, service_pb2.WatchRoutesResponse)
    (gone,) = change.lanes
    assert (gone.model, gone.segment, gone.removed) == ("m", "eu", True)
    watch.cancel()
    assert list(await routes(registry)) == [""]
    event = (await registry.events())[-1]
    assert (event.type, event.segment, event.reason) == ("SEGMENT_DELETED", "eu", "Europe is like the rest.")
    for call in (
        registry.stub.LoadVersion(
            service_pb2.LoadVersionRequest(name="models/m/versions/v1", segment="eu", etag="x", request_id=new_id())
        ),
        registry.stub.StartRollout(
            service_pb2.StartRolloutRequest(version="models/m/versions/v1", segment="eu", etag="x", request_id=new_id())
        ),
    ):
        assert (await refused(call)).reason == "LANE_NOT_FOUND"


async def test_a_lane_that_has_changed_is_read_again_before_it_is_taken_away(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    read = (await set_segment(registry)).etag
    await registry.stub.LoadVersion(
        service_pb2.LoadVersionRequest(name="models/m/versions/v1", segment="eu", etag=read, request_id=new_id())
    )
    said = await refused(delete_segment(registry, etag=read))
    assert (said.code, said.reason) == ("ABORTED", "ETAG_STALE")
    assert (await lane_of(registry)).stable_version == "v1"


async def test_a_live_rollout_is_ended_first_and_only_if_asked(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    await set_segment(registry)
    await registry.publish(segment="eu", rollout=plan(500))
    await registry.publish(segment="eu", rollout=plan(500))
    assert (await refused(delete_segment(registry))).reason == "ROLLOUT_LIVE"
    await delete_segment(registry, cancel_rollout=True)
    for number in (1, 2):
        rollout = await registry.rollout(number)
        assert (rollout.state, rollout.outcome.code) == (
            resources_pb2.ROLLOUT_STATE_CANCELLED,
            "SEGMENT_DELETED",
        )
    assert [lane.segment for lane in (await registry.model()).lanes] == [""]


async def test_what_failed_in_a_segment_has_failed_when_it_comes_back(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    await set_segment(registry)
    await registry.publish(segment="eu", rollout=plan(500))
    await registry.worker().ready("v1", "v2", control="v1")
    await registry.rollback(await registry.rollout(1))
    before = await lane_of(registry)
    await delete_segment(registry)
    refusal = await refused(set_segment(registry, version="v2"))
    assert (refusal.reason, refusal.metadata["state"]) == ("TRANSITION_ILLEGAL", "FAILED")
    after = await set_segment(registry)
    assert after.stable_version == "v1"
    # Counts of the lane before are told apart by their epoch.
    assert after.epoch > before.epoch


async def test_a_publication_makes_a_segments_lane_and_is_tested_in_it(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    for name in ("v2", "v3"):
        published = await registry.publish(segment="eu")
        lane = await lane_of(registry)
        assert (lane.stable_version, published.rollout.version) == ("v1", name)
        assert (await routes(registry))["eu"].version == "v1"
        events = [(one.type, one.version, one.reason) for one in await registry.events()]
        assert ("SEGMENT_SET", "v1", "Segment eu begins with v1, which its requests have had so far.") in events
        # Also where there was a lane before.
        await delete_segment(registry, cancel_rollout=True)
    wider = version()
    wider.signature.CopyFrom(signature(width=9))
    refusal = await refused(registry.publish(segment="eu", version=wider))
    assert refusal.reason == "SIGNATURE_INCOMPATIBLE"


async def test_a_segment_whose_requests_had_what_has_failed_in_it_is_set_by_hand(registry: Registry) -> None:
    await registry.running()
    await set_segment(registry)
    await registry.publish(segment="eu")
    worker = registry.worker()
    await worker.ready("v1", "v3", control="v1")
    await registry.rollback(await registry.rollout(2))
    await delete_segment(registry)
    lane = (await registry.model()).lanes[0]
    await registry.rollback(await registry.rollout(1))
    lane = (await registry.model()).lanes[0]
    request = service_pb2.StartRolloutRequest(
        version="models/m/versions/v3", etag=lane.etag, request_id=new_id(), rollout=plan(500)
    )
    await registry.stub.StartRollout(request)
    await registry.promote(await registry.rollout(3), force=True)
    refusal = await refused(registry.publish(segment="eu"))
    assert (refusal.reason, "v3 is FAILED in it" in refusal.message) == ("NO_STABLE_VERSION", True)
    assert "crossfade segment set m eu --version VERSION" in refusal.message
    # Also where the lane is there, with nothing stable in it.
    await registry.publish(segment="eu", without_rollout=True)
    assert (await set_segment(registry, version="v1", force=True)).stable_version == "v1"
    assert (await registry.publish(segment="eu")).rollout.segment == "eu"


async def test_the_default_segment_stays(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    assert (await refused(delete_segment(registry, segment=""))).field == "segment"


async def test_a_named_version_must_serve_the_segments_callers(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    await registry.publish(without_rollout=True)
    wider = version()
    wider.signature.CopyFrom(signature(width=9))
    await registry.publish(without_rollout=True, version=wider, allow_incompatible=True)
    refusal = await refused(set_segment(registry, version="v2"))
    assert (refusal.reason, "crossfade try m v2 --wait" in refusal.message) == ("NOT_READY_ENOUGH", True)
    await registry.worker().ready("v2", "v3")
    assert (await refused(set_segment(registry, version="v3"))).reason == "SIGNATURE_INCOMPATIBLE"
    assert (await set_segment(registry, version="v2")).stable_version == "v2"
    assert (await set_segment(registry, "us", version="v3", force=True)).stable_version == "v3"


async def test_a_rollout_in_a_segment_that_comes_back_begins_with_what_its_requests_had(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    worker = registry.worker()
    await set_segment(registry)
    await worker.ready("v1")
    await delete_segment(registry)
    await registry.publish(segment="eu", without_rollout=True)
    lane = await lane_of(registry)
    assert lane.stable_version == ""
    await registry.stub.StartRollout(
        service_pb2.StartRolloutRequest(
            version="models/m/versions/v2", segment="eu", etag=lane.etag, request_id=new_id(), rollout=plan(500)
        )
    )
    await worker.ready("v1", "v2", control="v1")
    assert (await lane_of(registry)).stable_version == "v1"
    assert (await registry.rollout(1)).state == resources_pb2.ROLLOUT_STATE_RUNNING


async def test_a_gate_on_callers_who_have_a_lane_of_their_own_is_refused(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    await set_segment(registry)
    errors = policy_pb2.METRIC_ERRORS
    gates = [policy_pb2.Gate(metric=errors, required=True), policy_pb2.Gate(metric=errors, segment="eu")]
    floor = plan(500)
    floor.policy.CopyFrom(policy_pb2.Policy(gates=gates))
    refusal = await refused(registry.publish(rollout=floor))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "SEGMENT_ELSEWHERE")
    assert "start the rollout in segment eu" in refusal.message
    # The segment's own lane has all of its callers and nobody else's; one without a lane is watched in the default one.
    assert (await registry.publish(segment="eu", rollout=floor)).rollout.name
    floor.policy.gates[1].segment = "us"
    refusal = await refused(registry.publish(segment="eu", rollout=floor))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "SEGMENT_ELSEWHERE")
    assert (await registry.publish(rollout=floor)).rollout.name
    # By a lane in which nothing is stable comes nobody.
    await registry.publish(segment="fr", without_rollout=True)
    floor.policy.gates[1].segment = "fr"
    assert (await registry.publish(rollout=floor)).rollout.name


@pytest.mark.parametrize("waits", [False, True])
async def test_callers_whom_a_rollouts_gate_watches_get_no_lane_of_their_own(registry: Registry, waits: bool) -> None:
    await registry.create()
    await registry.publish()
    await set_segment(registry, "us")
    await delete_segment(registry, "us")
    floor = plan(500)
    gates = [policy_pb2.Gate(metric=policy_pb2.METRIC_ERRORS, segment=one, required=True) for one in ("eu", "us")]
    floor.policy.CopyFrom(policy_pb2.Policy(gates=gates))
    if waits:
        await registry.publish(rollout=plan(500))
    number = 2 if waits else 1
    assert (await registry.publish(rollout=floor)).rollout.name == f"models/m/rollouts/{number}"
    for segment in ("eu", "us"):
        for asked in (
            set_segment(registry, segment),
            set_segment(registry, segment, force=True),
            registry.publish(segment=segment),
            registry.publish(segment=segment, without_rollout=True),
        ):
            refusal = await refused(asked)
            assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "SEGMENT_WATCHED")
            assert f"crossfade abort m --rollout {number}`" in refusal.message
    assert (await set_segment(registry, "asia")).stable_version == "v1"
    rollout = await registry.rollout(number)
    await registry.stub.CancelRollout(
        service_pb2.CancelRolloutRequest(name=rollout.name, etag=rollout.etag, request_id=new_id())
    )
    assert (await set_segment(registry, "eu")).stable_version == "v1"
    assert (await registry.publish(segment="us")).version.name
