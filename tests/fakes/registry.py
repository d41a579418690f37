"""A Registry as far as Workers see it: a real gRPC server with routes that a test writes and reports that it reads."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import timestamp_pb2
from grpc import aio

from crossfade.common.v1 import model_pb2
from crossfade.manifest import Manifest
from crossfade.publishing import signature_of
from crossfade.registry.v1 import resources_pb2, service_pb2, service_pb2_grpc

LIVE = model_pb2.TRAFFIC_LIVE
CONTROL = model_pb2.TRAFFIC_CONTROL

if TYPE_CHECKING:
    # mypy takes every method of a servicer for abstract; at run time those left out answer UNIMPLEMENTED.
    _Servicer = object
else:
    _Servicer = service_pb2_grpc.RegistryServiceServicer


class FakeRegistry(_Servicer):
    """Serves `WatchRoutes` from `set_lanes`, and keeps what `ReportInstance` is told.

    Args:
        credentials: of its TLS; None: it is without.

    Attributes:
        address: host:port, once started; kept across `stop` and `start`.
        instances: the latest report of each instance.
        left: the instances that have left.
        sequences: the numbers of the reports, as they came.
    """

    def __init__(self, credentials: grpc.ServerCredentials | None = None) -> None:
        self.address = "127.0.0.1:0"
        self._credentials = credentials
        self.instances: dict[str, resources_pb2.Instance] = {}
        self.left: list[str] = []
        self.sequences: list[int] = []
        self._lanes: dict[tuple[str, str], resources_pb2.LaneRoutes] = {}
        self._revision = 1
        self._changed = asyncio.Condition()
        self._server: aio.Server | None = None

    async def start(self) -> None:
        """Serves."""
        self._server = aio.server(options=(("grpc.so_reuseport", 0),))
        servicer: Any = self
        service_pb2_grpc.add_RegistryServiceServicer_to_server(servicer, self._server)
        if self._credentials is None:
            port = self._server.add_insecure_port(self.address)
        else:
            port = self._server.add_secure_port(self.address, self._credentials)
        self.address = f"127.0.0.1:{port}"
        await self._server.start()

    async def stop(self) -> None:
        """Ends at once, as when it is killed."""
        if self._server is not None:
            await self._server.stop(None)

    async def set_lanes(self, *lanes: resources_pb2.LaneRoutes) -> None:
        """Replaces all routes and tells the watchers."""
        async with self._changed:
            self._lanes = {(lane.model, lane.segment): lane for lane in lanes}
            self._revision += 1
            self._changed.notify_all()

    def serving(self, model: str, version: str, traffic: int = LIVE) -> resources_pb2.Serving | None:
        """What the one Worker last reported of a version; None: nothing."""
        for instance in self.instances.values():
            for serving in instance.serving:
                if (serving.model, serving.version, serving.traffic) == (model, version, traffic):
                    return serving
        return None

    def state(self, model: str, version: str, traffic: int = LIVE) -> str:
        """The state's name without its prefix; empty: not reported."""
        serving = self.serving(model, version, traffic)
        if serving is None:
            return ""
        return resources_pb2.ServingState.Name(serving.state).removeprefix("SERVING_STATE_")

    async def WatchRoutes(  # noqa: N802 - the method's name in the contract
        self, request: service_pb2.WatchRoutesRequest, context: "aio.ServicerContext[Any, Any]"
    ) -> AsyncIterator[service_pb2.WatchRoutesResponse]:
        """All lanes at every change."""
        sent = request.start_revision
        while True:
            async with self._changed:
                while self._revision <= sent:
                    await self._changed.wait()
                sent = self._revision
                lanes = list(self._lanes.values())
            yield service_pb2.WatchRoutesResponse(revision=sent, snapshot=True, lanes=lanes)

    async def ReportInstance(  # noqa: N802 - the method's name in the contract
        self, request: service_pb2.ReportInstanceRequest, context: "aio.ServicerContext[Any, Any]"
    ) -> service_pb2.ReportInstanceResponse:
        """Notes the report."""
        self.instances[request.instance.instance_id] = request.instance
        self.sequences.append(request.sequence)
        if request.leaving:
            self.left.append(request.instance.instance_id)
        return service_pb2.ReportInstanceResponse(expire_time=timestamp_pb2.Timestamp(), revision=self._revision)

    async def ListInstances(  # noqa: N802 - the method's name in the contract
        self, request: service_pb2.ListInstancesRequest, context: "aio.ServicerContext[Any, Any]"
    ) -> service_pb2.ListInstancesResponse:
        """The instances of a kind that have not left."""
        here = (one for name, one in self.instances.items() if name not in self.left)
        return service_pb2.ListInstancesResponse(instances=[one for one in here if one.kind == request.kind])


def wanted(
    version: str,
    uri: str,
    digest: str,
    manifest: Manifest,
    *,
    size: int = 0,
    traffic: Sequence["model_pb2.Traffic.ValueType"] = (LIVE,),
) -> resources_pb2.WantedVersion:
    """A version as routes want it held."""
    return resources_pb2.WantedVersion(
        version=version,
        artifact=model_pb2.Artifact(uri=uri, digest=digest, size_bytes=size),
        signature=signature_of(manifest),
        traffic=traffic,
    )


def lane(
    model: str,
    *versions: resources_pb2.WantedVersion,
    segment: str = "",
    epoch: int = 1,
    stable: str = "",
    test: str = "",
    failed: Sequence[str] = (),
    slice_seconds: float = 300.0,
) -> resources_pb2.LaneRoutes:
    """A lane's routes; the first version is stable unless it is said otherwise."""
    return resources_pb2.LaneRoutes(
        model=model,
        segment=segment,
        epoch=epoch,
        slice_seconds=slice_seconds,
        wanted=versions,
        stable_version=stable or (versions[0].version if versions else ""),
        test_version=test,
        failed_versions=failed,
        rollout=f"models/{model}/rollouts/1" if test else "",
    )
