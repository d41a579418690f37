"""Each call that changes something, and what has to be there before it."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration

from crossfade.common.v1 import analysis_pb2
from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.integration.registry.harness import CONTROL, READY, WORKER, Registry, new_id, plan, version

SEGMENT: Final = "eu"
WEBHOOK: Final = "dead"

Prepare = Callable[[Registry, str], Awaitable[Any]]
"""Makes what a call needs, of the model of this id; answers the request, that was not sent yet."""


def name(model: str) -> str:
    """A model's."""
    return f"models/{model}"


async def lane_etag(registry: Registry, model: str, segment: str = "") -> str:
    """The etag of a lane."""
    return next(lane.etag for lane in (await registry.model(model)).lanes if lane.segment == segment)


async def stable(registry: Registry, model: str) -> None:
    """v1 is stable, and ready on a Worker."""
    await registry.create(model)
    await registry.publish(model)
    await worker(registry, model).ready("v1")


async def pending(registry: Registry, model: str) -> str:
    """v1 is stable, and v2 waits for a rollout; answers the default lane's etag."""
    await stable(registry, model)
    await registry.publish(model, without_rollout=True)
    return await lane_etag(registry, model)


def worker(registry: Registry, model: str) -> Any:
    """A Worker whose lease outlives the test."""
    made = registry.worker(model)
    made.ttl = 600.0
    return made


async def create(_registry: Registry, model: str) -> Any:
    return service_pb2.CreateModelRequest(model_id=model)


async def update(registry: Registry, model: str) -> Any:
    await registry.create(model)
    described = resources_pb2.Model(name=name(model), description="what it is for")
    return service_pb2.UpdateModelRequest(model=described)


async def publish_first(registry: Registry, model: str) -> Any:
    await registry.create(model)
    return service_pb2.PublishVersionRequest(parent=name(model), version=version())


async def publish(registry: Registry, model: str) -> Any:
    await stable(registry, model)
    return service_pb2.PublishVersionRequest(parent=name(model), version=version(), rollout=plan(500))


async def publish_behind(registry: Registry, model: str) -> Any:
    """Two rollouts are there already: the one that waits gives way."""
    await registry.running(model)
    await registry.publish(model, rollout=plan(500))
    return service_pb2.PublishVersionRequest(parent=name(model), version=version(), rollout=plan(500))


async def set_segment(registry: Registry, model: str) -> Any:
    await stable(registry, model)
    etag = (await registry.model(model)).etag
    return service_pb2.SetSegmentRequest(model=name(model), segment=SEGMENT, etag=etag)


async def delete_segment(registry: Registry, model: str) -> Any:
    request = await set_segment(registry, model)
    request.request_id = new_id()
    await registry.stub.SetSegment(request)
    await registry.publish(model, segment=SEGMENT, rollout=plan(500))
    etag = await lane_etag(registry, model, SEGMENT)
    return service_pb2.DeleteSegmentRequest(model=name(model), segment=SEGMENT, etag=etag, cancel_rollout=True)


async def load(registry: Registry, model: str) -> Any:
    etag = await pending(registry, model)
    return service_pb2.LoadVersionRequest(name=f"{name(model)}/versions/v2", ttl=Duration(seconds=3600), etag=etag)


async def withdraw(registry: Registry, model: str) -> Any:
    etag = await pending(registry, model)
    return service_pb2.WithdrawVersionRequest(name=f"{name(model)}/versions/v2", etag=etag)


async def undo(registry: Registry, model: str) -> Any:
    """A rollout is live, and ends with it; the monitor, that may undo by itself, does not any more."""
    await registry.promote(await registry.running(model), force=True)
    await registry.publish(model, rollout=plan(500))
    settings = resources_pb2.MonitorSettings(undo=True, learn=Duration(seconds=60))
    asked = service_pb2.SetMonitorRequest(model=name(model), settings=settings, request_id=new_id())
    await registry.stub.SetMonitor(asked)
    etag = await lane_etag(registry, model)
    return service_pb2.UndoLaneRequest(model=name(model), etag=etag, force=True, bad=True, cancel_rollout=True)


async def start_rollout(registry: Registry, model: str) -> Any:
    etag = await pending(registry, model)
    return service_pb2.StartRolloutRequest(version=f"{name(model)}/versions/v2", rollout=plan(500), etag=etag)


def moving(request: Callable[..., Any], **values: Any) -> Prepare:
    """A transition of a rollout that runs."""

    async def prepare(registry: Registry, model: str) -> Any:
        rollout = await registry.running(model)
        return request(name=rollout.name, etag=rollout.etag, **values)

    return prepare


def moving_by_a_look(request: Callable[..., Any], **values: Any) -> Prepare:
    """A transition of a rollout that runs, as an Evaluator asks for it; the next rollout waits."""

    async def prepare(registry: Registry, model: str) -> Any:
        rollout = await registry.running(model)
        await registry.publish(model, rollout=plan(500))
        await registry.look(rollout, 1)
        return request(name=rollout.name, etag=rollout.etag, analysis_sequence=1, **values)

    return prepare


async def resume(registry: Registry, model: str) -> Any:
    rollout = await registry.running(model)
    pause = service_pb2.PauseRolloutRequest(name=rollout.name, etag=rollout.etag, request_id=new_id())
    rollout = await registry.stub.PauseRollout(pause)
    return service_pb2.ResumeRolloutRequest(name=rollout.name, etag=rollout.etag)


async def approve(registry: Registry, model: str) -> Any:
    spec = plan(500)
    spec.approval_required = True
    rollout = await registry.running(model, spec)
    return service_pb2.ApproveRolloutRequest(name=rollout.name, etag=rollout.etag)


async def record_look(registry: Registry, model: str) -> Any:
    rollout = await registry.running(model)
    look = analysis_pb2.Analysis(rollout=rollout.name, sequence=1, epoch=1)
    return service_pb2.RecordAnalysisRequest(analysis=look)


async def set_monitor(registry: Registry, model: str) -> Any:
    await stable(registry, model)
    return service_pb2.SetMonitorRequest(model=name(model), settings=resources_pb2.MonitorSettings(off=True))


async def record_monitor(registry: Registry, model: str) -> Any:
    await stable(registry, model)
    alert = resources_pb2.Alert(gate="errors", reason="9 % failed")
    seen = resources_pb2.Monitor(model=name(model), version="v1", sequence=1, alerts=[alert])
    return service_pb2.RecordMonitorRequest(monitor=seen)


async def report_ready(registry: Registry, model: str) -> Any:
    """What is reported lets a rollout begin."""
    await stable(registry, model)
    await registry.publish(model, rollout=plan(500))
    one = worker(registry, model)
    await one.report()
    one.set("v2")
    one.set("v1", READY, CONTROL)
    return report_of(one)


async def leave(registry: Registry, model: str) -> Any:
    await stable(registry, model)
    one = worker(registry, model)
    await one.ready("v1")
    return report_of(one, leaving=True)


async def drop_deliveries(registry: Registry, model: str) -> Any:
    await registry.rollback(await registry.running(model))
    return service_pb2.DropDeliveriesRequest(webhook=WEBHOOK, model=name(model))


def report_of(one: Any, **values: Any) -> Any:
    """What a Worker says next."""
    instance = resources_pb2.Instance(
        instance_id=one.instance_id, kind=WORKER, address="127.0.0.1:8600", serving=one.serving.values()
    )
    return service_pb2.ReportInstanceRequest(instance=instance, ttl=Duration(seconds=600), sequence=1, **values)


MUTATING: Final[dict[str, Prepare]] = {
    "CreateModel": create,
    "UpdateModel": update,
    "SetSegment": set_segment,
    "DeleteSegment": delete_segment,
    "PublishVersion of the first": publish_first,
    "PublishVersion": publish,
    "PublishVersion behind others": publish_behind,
    "LoadVersion": load,
    "WithdrawVersion": withdraw,
    "UndoLane": undo,
    "StartRollout": start_rollout,
    "AdvanceRollout": moving(service_pb2.AdvanceRolloutRequest, force=True),
    "PauseRollout": moving(service_pb2.PauseRolloutRequest),
    "ResumeRollout": resume,
    "ApproveRollout": approve,
    "PromoteRollout": moving(service_pb2.PromoteRolloutRequest, force=True),
    "PromoteRollout by a look": moving_by_a_look(service_pb2.PromoteRolloutRequest),
    "RollbackRollout": moving(service_pb2.RollbackRolloutRequest),
    "RollbackRollout by a look": moving_by_a_look(service_pb2.RollbackRolloutRequest),
    "CancelRollout": moving(service_pb2.CancelRolloutRequest),
    "RecordAnalysis": record_look,
    "SetMonitor": set_monitor,
    "RecordMonitor": record_monitor,
    "DropDeliveries": drop_deliveries,
    "ReportInstance": report_ready,
    "ReportInstance of one that leaves": leave,
}
"""By the RPC's name, and after it what is special."""


def rpc_of(call: str) -> str:
    """The RPC's name."""
    return call.partition(" ")[0]
