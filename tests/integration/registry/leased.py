"""What a Registry says of processes: those that it lists, and those that its routes name."""

from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.fakes.clock import ManualClock
from tests.integration.registry.harness import Registry, Start


async def listed(registry: Registry, kind: int = 0) -> list[resources_pb2.Instance]:
    request = service_pb2.ListInstancesRequest(kind=kind)  # type: ignore[arg-type]  # an enum's number
    return list((await registry.stub.ListInstances(request)).instances)


async def arms(registry: Registry) -> dict[str, int]:
    """The arms' addresses, counted."""
    lanes = await registry.routes()
    return {arm.arm: len(arm.endpoints) for arm in lanes[0].arms}


async def ticking(start: Start, clock: ManualClock, **changes: object) -> Registry:
    """A Registry that sweeps when the test says so."""
    return await start(clock, sweep_seconds=60, **changes)
