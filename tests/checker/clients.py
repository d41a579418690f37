"""Clients that ask for valid and invalid things at random, and write down what they were told."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import grpc
from google.protobuf.duration_pb2 import Duration

from crossfade.common.v1 import model_pb2
from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.checker.caller import TIMEOUT
from tests.checker.journal import Told, seconds_of
from tests.checker.replicas import Replicas
from tests.checker.rollout_client import RolloutClient

KINDS: Final = (
    "AdvanceRollout",
    "ApproveRollout",
    "CancelRollout",
    "CreateModel",
    "DeleteSegment",
    "LoadVersion",
    "PauseRollout",
    "PromoteRollout",
    "PublishVersion",
    "RecordAnalysis",
    "RecordMonitor",
    "ResumeRollout",
    "RollbackRollout",
    "SetMonitor",
    "SetSegment",
    "StartRollout",
    "UndoLane",
    "UpdateModel",
    "WithdrawVersion",
)
"""What they ask for: every RPC that changes something, but for reports of processes."""
SEGMENT: Final = "eu"
SIGNATURE: Final = model_pb2.Signature(
    inputs=[model_pb2.TensorSpec(name="x", datatype="FP32", shape=[-1, 4])],
    outputs=[model_pb2.TensorSpec(name="y", datatype="FP32", shape=[-1, 2])],
    task="classification",
    classes=["no", "yes"],
)
ARTIFACT: Final = model_pb2.Artifact(uri="file:///models/m", digest="sha256:" + "a" * 64, size_bytes=1)


class Client(RolloutClient):
    """One client.

    Args:
        number: its number, which seeds what it does.
        replicas: whom it asks.
        models: what about.
        seed: of the run.
    """

    def __init__(self, number: int, replicas: Replicas, models: list[str], seed: int) -> None:
        super().__init__(number, replicas, seed)
        self._models = models
        self._seen: dict[str, resources_pb2.Model] = {}
        self._own: list[tuple[str, str, str]] = []
        """Versions (model, segment, id) that nobody else loads, and it has not yet."""

    async def run(self, over: Callable[[], bool]) -> None:
        """Asks until it is over."""
        while not over():
            model = self._rng.choice(self._models)
            wanted = self._rng.choice(_OPERATIONS)
            try:
                lane = self._lane(await self._model(model))
                await wanted(self, model, lane)
            except grpc.RpcError:
                # A question that nobody answered; the next one may be.
                await asyncio.sleep(self._rng.uniform(0.01, 0.2))

    async def _model(self, model: str) -> resources_pb2.Model:
        # Now and then it acts on what it saw long ago.
        if model not in self._seen or self._rng.random() < 0.8:
            request = service_pb2.GetModelRequest(name=f"models/{model}")
            self._seen[model] = await self._stub().GetModel(request, timeout=TIMEOUT)
        return self._seen[model]

    def _lane(self, model: resources_pb2.Model) -> resources_pb2.Lane:
        return self._rng.choice([lane for lane in model.lanes for _ in range(1 if lane.segment else 4)])

    async def create(self, model: str, lane: resources_pb2.Lane) -> None:
        """A model that nobody does anything with."""
        del model, lane
        marker = self.marker()
        await self.operate("CreateModel", marker, marker, service_pb2.CreateModelRequest(model_id=marker))

    async def update(self, model: str, lane: resources_pb2.Lane) -> None:
        """Another description, which its event does not say: the answer names the event."""
        del lane
        marker = self.marker()
        etag = "" if self._one_in(2) else self._etag(self._seen[model].etag)
        wanted = resources_pb2.Model(name=f"models/{model}", description=marker, etag=etag)
        await self.operate("UpdateModel", model, marker, service_pb2.UpdateModelRequest(model=wanted))

    async def publish(self, model: str, lane: resources_pb2.Lane) -> None:
        """A new version, its id chosen by the client or by the Registry."""
        marker = self.marker()
        version = resources_pb2.Version(artifact=ARTIFACT, signature=SIGNATURE, description=marker)
        without, chosen = self._one_in(2), self._one_in(2)
        request = service_pb2.PublishVersionRequest(
            parent=f"models/{model}",
            version=version,
            version_id=marker if chosen else "",
            segment=lane.segment,
            without_rollout=without,
            rollout=None if without else self.plan(marker),
        )
        told = await self.operate("PublishVersion", model, marker, request)
        if chosen and told is Told.OK:
            self._own.append((model, lane.segment, marker))

    async def load(self, model: str, lane: resources_pb2.Lane) -> None:
        """A version of its own is held for pinned calls, and let go by itself or by whoever had it loaded."""
        own = [one for one in self._own if one[:2] == (model, lane.segment)]
        if not own:
            return
        chosen = self._rng.choice(own[-5:])
        self._own.remove(chosen)
        version, by_hand = chosen[2], self._one_in(2)
        ttl = Duration(seconds=3600 if by_hand else self._rng.randint(1, 3))
        request = service_pb2.LoadVersionRequest(
            name=f"models/{model}/versions/{version}", segment=lane.segment, ttl=ttl, etag=self._etag(lane.etag)
        )
        await self.operate("LoadVersion", model, f"loaded {version}", request)
        if not by_hand:
            return
        now = await self._stub().GetModel(service_pb2.GetModelRequest(name=f"models/{model}"), timeout=TIMEOUT)
        for found in now.lanes:
            if found.segment == lane.segment:
                held = version in {one.version for one in found.loaded}
                request.ttl.seconds, request.etag = 0, found.etag
                await self.operate("LoadVersion", model, f"let go {version}", request, times=int(held))

    async def undo(self, model: str, lane: resources_pb2.Lane) -> None:
        """Back to an earlier version."""
        marker = self.marker()
        request = service_pb2.UndoLaneRequest(
            model=f"models/{model}",
            segment=lane.segment,
            version="" if lane.previous_version and self._one_in(2) else self._of(lane, "DEPRECATED"),
            bad=self._one_in(4),
            cancel_rollout=not self._one_in(4),
            force=True,
            reason=marker,
            etag=self._etag(lane.etag),
        )
        await self.operate("UndoLane", model, marker, request)

    async def withdraw(self, model: str, lane: resources_pb2.Lane) -> None:
        """A version is taken back."""
        marker = self.marker()
        request = service_pb2.WithdrawVersionRequest(
            name=f"models/{model}/versions/{self._of(lane, 'PENDING')}",
            segment=lane.segment,
            reason=marker,
            etag=self._etag(lane.etag),
        )
        await self.operate("WithdrawVersion", model, marker, request)

    async def set_segment(self, model: str, lane: resources_pb2.Lane) -> None:
        """The segment gets a lane; where it has one with a stable version, nothing is to be done."""
        del lane
        marker, seen = self.marker(), self._seen[model]
        there = any(one.segment == SEGMENT and one.stable_version for one in seen.lanes)
        request = service_pb2.SetSegmentRequest(
            model=f"models/{model}", segment=SEGMENT, reason=marker, etag=self._etag(seen.etag)
        )
        await self.operate("SetSegment", model, marker, request, times=int(not there))

    async def delete_segment(self, model: str, lane: resources_pb2.Lane) -> None:
        """The segment's lane is taken away."""
        lane = next((one for one in self._seen[model].lanes if one.segment), lane)
        if not lane.segment:
            return
        marker = self.marker()
        request = service_pb2.DeleteSegmentRequest(
            model=f"models/{model}",
            segment=SEGMENT,
            cancel_rollout=not self._one_in(3),
            reason=marker,
            etag=self._etag(lane.etag),
        )
        await self.operate("DeleteSegment", model, marker, request)

    async def set_monitor(self, model: str, lane: resources_pb2.Lane) -> None:
        """The lane is watched in another way."""
        marker = self.marker()
        settings = resources_pb2.MonitorSettings(
            off=self._one_in(4), undo=self._one_in(2), learn=Duration(seconds=seconds_of(marker))
        )
        request = service_pb2.SetMonitorRequest(
            model=f"models/{model}", segment=lane.segment, settings=settings, reason=marker
        )
        await self.operate("SetMonitor", model, marker, request)

    async def watch_lane(self, model: str, lane: resources_pb2.Lane) -> None:
        """A look at the lane, at which something stands out that did not before."""
        name = f"models/{model}"
        request = service_pb2.GetMonitorRequest(model=name, segment=lane.segment)
        known = await self._stub().GetMonitor(request, timeout=TIMEOUT)
        marker = self.marker()
        monitor = resources_pb2.Monitor(
            model=name,
            segment=lane.segment,
            version=lane.stable_version or "v1",
            sequence=known.sequence + 1,
            alerts=[resources_pb2.Alert(gate=marker, reason=marker)],
        )
        await self.operate("RecordMonitor", model, marker, service_pb2.RecordMonitorRequest(monitor=monitor))


_Operation = Callable[[Client, str, resources_pb2.Lane], Awaitable[None]]
_OPERATIONS: Final[tuple[_Operation, ...]] = (
    *(Client.publish,) * 4,
    *(Client.start,) * 4,
    *(Client.move,) * 28,
    *(Client.look,) * 4,
    *(Client.load,) * 4,
    *(Client.undo,) * 4,
    *(Client.withdraw,) * 2,
    *(Client.set_segment,) * 3,
    *(Client.delete_segment,) * 2,
    *(Client.watch_lane,) * 2,
    Client.set_monitor,
    Client.update,
    Client.create,
)
