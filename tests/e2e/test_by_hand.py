"""What people do without a rollout, through every service: an ad hoc test of one version, and the way back."""

import uuid

import pytest

from crossfade.client import PredictError
from crossfade.policy_file import parse_policy
from crossfade.publishing import version_of
from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.e2e.conftest import MODEL, QUICK, House, Load, rows
from tests.support.wait import until_async


def new_id() -> str:
    return str(uuid.uuid4())


async def etag(house: House) -> str:
    """The lane's."""
    model = await house.registry.GetModel(service_pb2.GetModelRequest(name=f"models/{MODEL}"))
    return str(model.lanes[0].etag)


async def pinned(house: House, version: str) -> bool:
    """Whether a pinned call is answered by the version."""
    try:
        return (await house.client.predict(MODEL, rows(1), version=version, timeout=2.0)).version == version
    except PredictError:
        return False


@pytest.mark.timeout(240)
async def test_a_version_is_tried_by_pinned_calls_then_promoted_and_undone_without_a_failed_call(house: House) -> None:
    load = Load(house.client, rate=50)
    await house.registry.PublishVersion(
        service_pb2.PublishVersionRequest(
            parent=f"models/{MODEL}",
            version_id="v2",
            version=version_of(house.artifacts["v2"]),
            without_rollout=True,
            request_id=new_id(),
        )
    )
    assert not await pinned(house, "v2")
    name = f"models/{MODEL}/versions/v2"
    await house.registry.LoadVersion(
        service_pb2.LoadVersionRequest(name=name, etag=await etag(house), request_id=new_id())
    )
    await until_async(lambda: pinned(house, "v2"), seconds=60)
    assert set(load.versions) == {"v1"}

    start = service_pb2.StartRolloutRequest(version=name, etag=await etag(house), request_id=new_id())
    rollout = await house.registry.StartRollout(start)
    await house.until_state(rollout.name, resources_pb2.ROLLOUT_STATE_RUNNING)
    live = await house.rollout(rollout.name)
    await house.registry.PromoteRollout(
        service_pb2.PromoteRolloutRequest(name=live.name, etag=live.etag, request_id=new_id())
    )
    await house.until_serves("v2")
    await house.registry.UndoLane(
        service_pb2.UndoLaneRequest(
            model=f"models/{MODEL}", bad=True, reason="callers complain", etag=await etag(house), request_id=new_id()
        )
    )
    await house.until_serves("v1")
    calls = await load.stop()
    assert load.errors == []
    assert len(load.versions) == calls
    # What was found bad is let go, and no pin reaches it any more.
    await until_async(lambda: _is_gone(house), seconds=30)


async def _is_gone(house: House) -> bool:
    try:
        await house.client.predict(MODEL, rows(1), version="v2")
    except PredictError as error:
        # One that was only late on a busy machine is there yet.
        return "v2 is FAILED in this lane, and no request may reach it" in str(error)
    return False


@pytest.mark.timeout(240)
async def test_a_segment_has_its_own_version_and_its_promotion_waits_for_a_person(house: House) -> None:
    load = Load(house.client, rate=50)
    model = await house.registry.GetModel(service_pb2.GetModelRequest(name=f"models/{MODEL}"))
    await house.registry.SetSegment(
        service_pb2.SetSegmentRequest(model=f"models/{MODEL}", segment="eu", etag=model.etag, request_id=new_id())
    )
    policy = parse_policy(QUICK)
    published = await house.registry.PublishVersion(
        service_pb2.PublishVersionRequest(
            parent=f"models/{MODEL}",
            version_id="v2",
            version=version_of(house.artifacts["v2"]),
            segment="eu",
            rollout=service_pb2.RolloutSpec(plan=policy.plan, policy=policy.policy, approval_required=True),
            request_id=new_id(),
        )
    )
    name = published.rollout.name
    europe = Load(house.client, rate=80, segment="eu")

    async def waits_for_a_person() -> bool:
        request = service_pb2.ListAnalysesRequest(parent=name, latest_only=True, summaries_only=True)
        answer = await house.registry.ListAnalyses(request)
        return any("waits for a person to agree" in one.summary.reason for one in answer.analyses)

    await until_async(waits_for_a_person, seconds=120)
    live = await house.rollout(name)
    await house.registry.ApproveRollout(
        service_pb2.ApproveRolloutRequest(name=name, etag=live.etag, request_id=new_id())
    )
    await house.until_state(name, resources_pb2.ROLLOUT_STATE_PROMOTED)
    await until_async(lambda: _answers(house, "v2", "eu"), seconds=30)
    await europe.stop()
    assert europe.errors == []
    assert set(europe.versions) == {"v1", "v2"}

    lanes = (await house.registry.GetModel(service_pb2.GetModelRequest(name=f"models/{MODEL}"))).lanes
    etags = {lane.segment: lane.etag for lane in lanes}
    await house.registry.DeleteSegment(
        service_pb2.DeleteSegmentRequest(model=f"models/{MODEL}", segment="eu", etag=etags["eu"], request_id=new_id())
    )
    await until_async(lambda: _answers(house, "v1", "eu"), seconds=30)
    await load.stop()
    assert load.errors == []
    assert set(load.versions) == {"v1"}


async def _answers(house: House, version: str, segment: str) -> bool:
    return (await house.client.predict(MODEL, rows(1), segment=segment)).version == version
