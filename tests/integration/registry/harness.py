"""The moves that tests make with a running Registry."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

import pytest
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc import aio

from crossfade.common.v1 import analysis_pb2, model_pb2, policy_pb2
from crossfade.connection import OPTIONS
from crossfade.errors import DETAILS_KEY
from crossfade.registry.v1 import resources_pb2, service_pb2, service_pb2_grpc
from registry.app import App
from services.common.channels import channel_credentials
from services.common.settings import TlsSettings

LIVE = model_pb2.TRAFFIC_LIVE
CONTROL = model_pb2.TRAFFIC_CONTROL
READY = resources_pb2.SERVING_STATE_READY
LOADING = resources_pb2.SERVING_STATE_LOADING
FAILED = resources_pb2.SERVING_STATE_FAILED
WORKER = resources_pb2.INSTANCE_KIND_WORKER
_SIGHT_SECONDS = 10.0
LONG_SECONDS = 600.0
"""Of a lease that outlives its test, however slow the machine is."""
LEASE_SECONDS = 15.0
"""Of a lease whose end is tested."""


def new_id() -> str:
    """A request id."""
    return str(uuid.uuid4())


def signature(classes: Iterable[str] = ("no", "yes"), width: int = 4) -> model_pb2.Signature:
    """A small classification's signature."""
    return model_pb2.Signature(
        inputs=[model_pb2.TensorSpec(name="x", datatype="FP32", shape=[-1, width])],
        outputs=[model_pb2.TensorSpec(name="scores", datatype="FP32", shape=[-1, 2])],
        task="classification",
        classes=classes,
    )


def version(**changes: object) -> resources_pb2.Version:
    """A version to be published."""
    made = resources_pb2.Version(
        artifact=model_pb2.Artifact(uri="file:///models/m-1", digest="sha256:" + "a" * 64, size_bytes=10),
        signature=signature(),
    )
    made.MergeFrom(resources_pb2.Version(**changes))  # type: ignore[arg-type]  # fields of the message, by name
    return made


def plan(*shares: int, period_seconds: float = 3600.0) -> service_pb2.RolloutSpec:
    """A rollout with one LIVE step per share."""
    period = duration_pb2.Duration()
    period.FromMilliseconds(int(period_seconds * 1000))
    steps = [policy_pb2.Step(share_bps=share, period=period) for share in shares]
    return service_pb2.RolloutSpec(plan=policy_pb2.TrafficPlan(steps=steps))


@dataclass(frozen=True)
class Refusal:
    """What a failed call said."""

    code: str
    reason: str
    message: str
    field: str
    metadata: dict[str, str]


def refusal(error: aio.AioRpcError) -> Refusal:
    """Reads the details of a failed call."""
    status = status_pb2.Status()
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY:
            assert isinstance(value, bytes)
            status.ParseFromString(value)
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        if detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(bad.DESCRIPTOR):
            detail.Unpack(bad)
    named = bad.field_violations[0].field if bad.field_violations else ""
    return Refusal(error.code().name, info.reason, error.details() or "", named, dict(info.metadata))


async def refused(call: Awaitable[object]) -> Refusal:
    """The refusal of a call that must fail."""
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    return refusal(caught.value)


@dataclass
class FakeWorker:
    """What a Worker reports; tests set it."""

    stub: "service_pb2_grpc.RegistryServiceAsyncStub"
    model: str
    instance_id: str = field(default_factory=new_id)
    ttl: float = LONG_SECONDS
    serving: dict[tuple[str, int], resources_pb2.Serving] = field(default_factory=dict)

    def set(
        self,
        version_id: str,
        state: "resources_pb2.ServingState.ValueType" = READY,
        traffic: "model_pb2.Traffic.ValueType" = LIVE,
        error_code: str = "",
    ) -> None:
        """What it is to report of a version from now on."""
        port = 9000 + len(self.serving)
        old = self.serving.get((version_id, traffic))
        self.serving[version_id, traffic] = resources_pb2.Serving(
            model=self.model,
            version=version_id,
            traffic=traffic,
            address=old.address if old is not None else f"127.0.0.1:{port}",
            state=state,
            error_code=error_code,
            load_report=resources_pb2.LoadReport(device="cpu", precision="fp32", load_seconds=0.5),
        )

    async def report(
        self, *, ttl: float = 0.0, leaving: bool = False, sequence: int = 0
    ) -> service_pb2.ReportInstanceResponse:
        """Reports, as the `sequence`th time; 0: as one that does not number its reports."""
        instance = resources_pb2.Instance(
            instance_id=self.instance_id, kind=WORKER, address="127.0.0.1:8600", serving=self.serving.values()
        )
        duration = duration_pb2.Duration()
        duration.FromMilliseconds(int((ttl or self.ttl) * 1000))
        request = service_pb2.ReportInstanceRequest(instance=instance, ttl=duration, leaving=leaving, sequence=sequence)
        return await self.stub.ReportInstance(request)

    async def ready(self, *versions: str, control: str = "") -> None:
        """Reports versions as ready for live traffic, and stable's control process."""
        for one in versions:
            self.set(one)
        if control:
            self.set(control, READY, CONTROL)
        await self.report()


class Registry:
    """A running Registry and short forms of its calls."""

    def __init__(self, app: App, tls: TlsSettings | None = None, channel: aio.Channel | None = None) -> None:
        self.app = app
        if channel is not None:
            self.channel = channel
        elif tls is None:
            self.channel = aio.insecure_channel(app.address, options=OPTIONS)
        else:
            self.channel = aio.secure_channel(app.address, channel_credentials(tls), options=OPTIONS)
        self.stub = service_pb2_grpc.RegistryServiceStub(self.channel)

    async def create(self, model: str = "m") -> resources_pb2.Model:
        """Creates a model."""
        return await self.stub.CreateModel(service_pb2.CreateModelRequest(model_id=model, request_id=new_id()))

    async def publish(self, model: str = "m", **changes: object) -> service_pb2.PublishVersionResponse:
        """Publishes a version."""
        request = service_pb2.PublishVersionRequest(parent=f"models/{model}", request_id=new_id(), version=version())
        for name, value in changes.items():
            if hasattr(value, "CopyFrom"):
                getattr(request, name).CopyFrom(value)
            else:
                setattr(request, name, value)
        return await self.stub.PublishVersion(request)

    async def model(self, model: str = "m") -> resources_pb2.Model:
        """Reads a model."""
        return await self.stub.GetModel(service_pb2.GetModelRequest(name=f"models/{model}"))

    async def rollout(self, number: int, model: str = "m") -> resources_pb2.Rollout:
        """Reads a rollout."""
        return await self.stub.GetRollout(service_pb2.GetRolloutRequest(name=f"models/{model}/rollouts/{number}"))

    async def states(self, model: str = "m") -> dict[str, str]:
        """The versions of the default lane and their states."""
        lane = (await self.model(model)).lanes[0]
        names = resources_pb2.VersionState
        return {one.version: names.Name(one.state).removeprefix("VERSION_STATE_") for one in lane.versions}

    def worker(self, model: str = "m", ttl: float = LONG_SECONDS) -> FakeWorker:
        """A Worker that has not reported yet."""
        return FakeWorker(self.stub, model, ttl=ttl)

    async def running(self, model: str = "m", spec: service_pb2.RolloutSpec | None = None) -> resources_pb2.Rollout:
        """A model with v1 stable and v2 under test on one Worker."""
        await self.create(model)
        await self.publish(model)
        worker = self.worker(model)
        await worker.ready("v1")
        published = await self.publish(model, rollout=spec or plan(500, 5000))
        await worker.ready("v1", "v2", control="v1")
        number = int(published.rollout.name.rpartition("/")[2])
        return await self.rollout(number, model)

    async def routes(self) -> list[resources_pb2.LaneRoutes]:
        """All lanes' routes, as a new watch gets them."""
        end = time.monotonic() + _SIGHT_SECONDS
        while True:
            try:
                return await self._watched()
            except aio.AioRpcError as error:
                # A test's clock that goes on amid its reading of them tells it that it has not seen them for so long.
                if refusal(error).reason != "DATABASE_UNAVAILABLE" or time.monotonic() > end:
                    raise
                await asyncio.sleep(0.05)

    async def _watched(self) -> list[resources_pb2.LaneRoutes]:
        watch = self.stub.WatchRoutes(service_pb2.WatchRoutesRequest())
        try:
            first = await watch.read()
            assert isinstance(first, service_pb2.WatchRoutesResponse)
            return list(first.lanes)
        finally:
            watch.cancel()

    async def events(self, model: str = "m") -> list[resources_pb2.Event]:
        """The model's events, oldest first."""
        response = await self.stub.ListEvents(service_pb2.ListEventsRequest(parent=f"models/{model}", page_size=1000))
        return list(response.events)[::-1]

    def promote(
        self, rollout: resources_pb2.Rollout, **changes: object
    ) -> "aio.UnaryUnaryCall[service_pb2.PromoteRolloutRequest, resources_pb2.Rollout]":
        """Promotes."""
        values = {"name": rollout.name, "etag": rollout.etag, "request_id": new_id(), **changes}
        return self.stub.PromoteRollout(service_pb2.PromoteRolloutRequest(**values))  # type: ignore[arg-type]  # by name

    def rollback(
        self, rollout: resources_pb2.Rollout, **changes: object
    ) -> "aio.UnaryUnaryCall[service_pb2.RollbackRolloutRequest, resources_pb2.Rollout]":
        """Rolls back."""
        values = {"name": rollout.name, "etag": rollout.etag, "request_id": new_id(), **changes}
        return self.stub.RollbackRollout(service_pb2.RollbackRolloutRequest(**values))  # type: ignore[arg-type]  # by name

    async def look(self, rollout: resources_pb2.Rollout, sequence: int) -> int:
        """Records a look."""
        series = analysis_pb2.SeriesCounts(metric="crossfade.attempt.duration", counts=[sequence])
        counts = analysis_pb2.Counts(instances=[analysis_pb2.InstanceCounts(instance_id="i", series=[series])])
        analysis = analysis_pb2.Analysis(
            rollout=rollout.name, sequence=sequence, epoch=1, judged=True, window=counts, cursor=counts
        )
        request = service_pb2.RecordAnalysisRequest(analysis=analysis, request_id=new_id())
        return (await self.stub.RecordAnalysis(request)).analysis_sequence


@dataclass
class Secured:
    """A Registry with TLS, as callers of three roles reach it; v2 is under test."""

    operator: Registry
    evaluator: Registry
    worker: Registry

    async def rollout(self) -> resources_pb2.Rollout:
        return await self.operator.rollout(1)


Start = Callable[..., Awaitable[Registry]]
