"""What people do without a rollout, through every service: an ad hoc test of one version, and the way back."""

import uuid

import pytest

from crossfade.client import PredictError
from crossfade.publishing import version_of
from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.e2e.conftest import MODEL, House, Load, rows
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
    return not await pinned(house, "v2")
