"""Workers that have every version that is wanted of them, mostly: so rollouts begin, and shares are carried."""

import asyncio
import random
import uuid
from collections.abc import Iterable, Sequence

import grpc
from google.protobuf.duration_pb2 import Duration

from crossfade.common.v1 import model_pb2
from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.checker.replicas import Replicas

_BUSY = (resources_pb2.VERSION_STATE_TESTING, resources_pb2.VERSION_STATE_STABLE)
_PAUSE_SECONDS = 0.25
_TTL = Duration(seconds=600)
"""Past the end of the run, for what is proven then is not to change any more."""
_READY = resources_pb2.SERVING_STATE_READY
_LOADING = resources_pb2.SERVING_STATE_LOADING


async def report_ready(replicas: Replicas, models: Iterable[str], seed: str) -> None:
    """One Worker that reports until it is cancelled."""
    rng = random.Random(f"{seed}/worker")
    instance_id = str(uuid.UUID(int=rng.getrandbits(128), version=4))
    sequence = 0
    while True:
        sequence += 1
        try:
            stub = rng.choice(replicas.stubs)
            serving: list[resources_pb2.Serving] = []
            for name in models:
                model = await stub.GetModel(service_pb2.GetModelRequest(name=f"models/{name}"), timeout=2)
                # Now and then a process is started again.
                state = _LOADING if rng.randrange(20) == 0 else _READY
                serving += [one for version in _held(model) for one in _both(name, version, state)]
            instance = resources_pb2.Instance(
                instance_id=instance_id,
                kind=resources_pb2.INSTANCE_KIND_WORKER,
                address="127.0.0.1:1",
                serving=serving,
            )
            request = service_pb2.ReportInstanceRequest(instance=instance, sequence=sequence, ttl=_TTL)
            await stub.ReportInstance(request, timeout=2)
        except grpc.RpcError:
            pass
        await asyncio.sleep(rng.uniform(0.5, 1.5) * _PAUSE_SECONDS)


def _held(model: resources_pb2.Model) -> Sequence[str]:
    return sorted({one.version for lane in model.lanes for one in lane.versions if one.state in _BUSY})


def _both(model: str, version: str, state: resources_pb2.ServingState.ValueType) -> Iterable[resources_pb2.Serving]:
    """For live traffic, and as the control process that a rollout's beginning waits for."""
    for traffic in (model_pb2.TRAFFIC_LIVE, model_pb2.TRAFFIC_CONTROL):
        yield resources_pb2.Serving(model=model, version=version, traffic=traffic, address="127.0.0.1:1", state=state)
