"""A lane without a rollout, over gRPC: two Evaluators, one Registry, and an alert that undoes."""

import asyncio
import uuid
from collections.abc import Callable

from google.protobuf import duration_pb2

from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.fakes.metrics import Behaviour
from tests.integration.evaluator.conftest import MakeScene
from tests.integration.evaluator.journal import Journal
from tests.integration.evaluator.scene import MODEL, Scene, quick_terms
from tests.support.delaying import delaying

NAME = f"models/{MODEL}"


async def set_monitor(scene: Scene, *, undo: bool = False) -> None:
    settings = resources_pb2.MonitorSettings(undo=undo, learn=duration_pb2.Duration(seconds=1))
    request = service_pb2.SetMonitorRequest(model=NAME, settings=settings, request_id=str(uuid.uuid4()))
    await scene.stub.SetMonitor(request)


async def until(scene: Scene, wanted: Callable[[resources_pb2.Monitor], object]) -> resources_pb2.Monitor:
    request = service_pb2.GetMonitorRequest(model=NAME)
    async with asyncio.timeout(30):
        while not wanted(found := await scene.stub.GetMonitor(request)):
            await asyncio.sleep(0.05)
    return found


async def test_two_evaluators_tell_of_a_failing_version_once_and_of_its_end(scene: MakeScene) -> None:
    made = await scene(quick_terms())
    await set_monitor(made)
    near, far = Journal("model"), Journal("model")
    async with delaying(made.registry, 0.03) as way:
        # Alone it records, and beside one that is nearer to the Registry it comes too late.
        await made.evaluate(monitor_seconds=0.25, registry=way, log=far.log)
        await until(made, lambda _: far.looks)
        await made.evaluate(monitor_seconds=0.25, log=near.log)
        learnt = await until(made, lambda found: len(found.summary.gates) == 3 and near.looks and far.overtaken)
        assert {report.gate for report in learnt.summary.gates} == {"errors", "runtime", "outputs"}
        assert (learnt.version, len(learnt.alerts)) == ("v1", 0)
        late = far.overtaken
        made.fleet.stable = Behaviour(errors=0.2)
        found = await until(made, lambda found: found.alerts)
        assert found.alerts[0].gate == "errors"
        assert found.summary.reason == found.alerts[0].reason
        made.fleet.stable = Behaviour()
        await until(made, lambda found: not found.alerts and far.overtaken > late)
    kinds = [event.type for event in await made.events() if event.type.startswith("ALERT")]
    assert kinds == ["ALERT_ENDED", "ALERT_RAISED"]
    assert not set(near.looks) & set(far.looks)


async def test_an_alert_undoes_a_lane_that_asks_for_it_once(scene: MakeScene) -> None:
    made = await scene(quick_terms())
    await made.publish()
    rollout = await made.until(lambda rollout: rollout.state == resources_pb2.ROLLOUT_STATE_RUNNING)
    promote = service_pb2.PromoteRolloutRequest(
        name=rollout.name, etag=rollout.etag, request_id=str(uuid.uuid4()), force=True
    )
    await made.stub.PromoteRollout(promote)
    made.goes_on = True
    await set_monitor(made, undo=True)
    await made.evaluate(monitor_seconds=0.25)
    await until(made, lambda found: found.version == "v2" and len(found.summary.gates) == 3)
    made.fleet.stable = Behaviour(errors=0.2)
    async with asyncio.timeout(30):
        while (await lane(made)).stable_version != "v1":
            await asyncio.sleep(0.05)
    made.fleet.stable = Behaviour()
    found = await until(made, lambda found: found.version == "v1")
    assert not found.settings.undo
    undone = next(event for event in await made.events() if event.type == "LANE_UNDONE")
    assert undone.actor == "local:evaluator"
    assert undone.reason.startswith("v2 failed ")


async def lane(scene: Scene) -> resources_pb2.Lane:
    model = await scene.stub.GetModel(service_pb2.GetModelRequest(name=NAME))
    return model.lanes[0]
