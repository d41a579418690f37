"""What a Registry says of processes: those that it lists, and those that its routes name."""

from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.fakes.clock import ManualClock
from tests.integration.registry.harness import LIVE, FakeWorker, Registry, Start


async def listed(registry: Registry, kind: int = 0) -> list[resources_pb2.Instance]:
    request = service_pb2.ListInstancesRequest(kind=kind)  # type: ignore[arg-type]  # an enum's number
    return list((await registry.stub.ListInstances(request)).instances)


async def arms(registry: Registry) -> dict[str, int]:
    """The arms' addresses, counted."""
    lanes = await registry.routes()
    return {arm.arm: len(arm.endpoints) for arm in lanes[0].arms}


def serve(worker: FakeWorker, model: str, state: "resources_pb2.ServingState.ValueType") -> None:
    """What a Worker is to report of v1 of a model besides its own."""
    worker.serving[model, LIVE] = resources_pb2.Serving(
        model=model, version="v1", traffic=LIVE, address=f"127.0.0.1:{9100 + ord(model)}", state=state
    )


async def served(registry: Registry) -> dict[str, int]:
    """The stable versions' addresses, counted."""
    return {lane.model: len(lane.arms[-1].endpoints) for lane in await registry.routes()}


async def ticking(start: Start, clock: ManualClock, **changes: object) -> Registry:
    """A Registry that sweeps when the test says so."""
    return await start(clock, sweep_seconds=60, **changes)
