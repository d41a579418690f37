"""Good versions are promoted and bad ones rolled back, through every service and with nobody who decides."""

import pytest

from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.e2e.conftest import SHADOW, House, Load

PROMOTED = resources_pb2.ROLLOUT_STATE_PROMOTED
ROLLED_BACK = resources_pb2.ROLLOUT_STATE_ROLLED_BACK
ENDED = (
    PROMOTED,
    ROLLED_BACK,
    resources_pb2.ROLLOUT_STATE_INCONCLUSIVE,
    resources_pb2.ROLLOUT_STATE_CANCELLED,
)


@pytest.mark.timeout(300)
async def test_a_good_version_is_promoted_and_a_bad_one_rolled_back(house: House) -> None:
    load = Load(house.client, rate=100)

    good = await house.publish("v2")
    rollout = await house.until_state(good.rollout.name, *ENDED, seconds=120)
    assert rollout.state == PROMOTED, rollout
    await house.until_serves("v2")
    model = await house.registry.GetModel(service_pb2.GetModelRequest(name="models/sign"))
    states = {one.version: one.state for one in model.lanes[0].versions}
    assert states == {"v1": resources_pb2.VERSION_STATE_DEPRECATED, "v2": resources_pb2.VERSION_STATE_STABLE}

    bad = await house.publish("v3")
    rollout = await house.until_state(bad.rollout.name, *ENDED, seconds=120)
    assert rollout.state == ROLLED_BACK, rollout
    assert rollout.outcome.gate == "errors"
    assert rollout.outcome.summary.gates
    calls = await load.stop()
    assert load.errors == []
    assert len(load.versions) == calls
    assert "v3" in load.versions

    events = await house.registry.ListEvents(service_pb2.ListEventsRequest(parent="models/sign"))
    by_type = {event.type: event for event in events.events}
    assert by_type["ROLLOUT_ROLLED_BACK"].actor
    again = await house.registry.ListAnalyses(service_pb2.ListAnalysesRequest(parent=bad.rollout.name))
    assert [one.sequence for one in again.analyses] == list(range(1, len(again.analyses) + 1))


@pytest.mark.timeout(300)
async def test_a_version_is_tried_in_shadow_before_any_caller_has_it(house: House) -> None:
    load = Load(house.client, rate=100)
    good = await house.publish("v2", policy=SHADOW)
    rollout = await house.until_state(good.rollout.name, *ENDED, seconds=120)
    assert rollout.state == PROMOTED, rollout
    looks = await house.registry.ListAnalyses(service_pb2.ListAnalysesRequest(parent=good.rollout.name))
    shadowed = [look.summary.shadow for look in looks.analyses if look.step == 0 and look.summary.shadow.rows]
    assert shadowed[-1].rows > 50
    assert shadowed[-1].different == 0
    await house.until_serves("v2")
    calls = len(load.versions)

    bad = await house.publish("v3", policy=SHADOW)
    rollout = await house.until_state(bad.rollout.name, *ENDED, seconds=120)
    assert rollout.state == ROLLED_BACK, rollout
    assert (rollout.outcome.gate, rollout.step) == ("errors", 0)
    await load.stop()
    assert load.errors == []
    assert len(load.versions) > calls
    assert "v3" not in load.versions
