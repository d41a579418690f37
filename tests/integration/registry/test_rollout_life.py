"""The life of versions over RPC: published, tested, promoted, rolled back, cancelled."""

from crossfade.registry.v1 import resources_pb2
from tests.integration.registry.harness import Registry


async def test_first_version_is_stable_at_once(registry: Registry) -> None:
    await registry.create()
    published = await registry.publish()
    assert published.version.name == "models/m/versions/v1"
    assert not published.HasField("rollout")
    lane = (await registry.model()).lanes[0]
    assert lane.stable_version == "v1"
    assert await registry.states() == {"v1": "STABLE"}


async def test_second_version_is_tested_and_promoted(registry: Registry) -> None:
    rollout = await registry.running()
    assert rollout.state == resources_pb2.ROLLOUT_STATE_RUNNING
    assert rollout.stable_version == "v1"
    done = await registry.promote(rollout)
    assert done.state == resources_pb2.ROLLOUT_STATE_PROMOTED
    assert await registry.states() == {"v1": "DEPRECATED", "v2": "STABLE"}
