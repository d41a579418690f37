"""Clients that ask for valid and invalid things at random, and write down what they were told."""

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
from google.protobuf.duration_pb2 import Duration

from crossfade.common.v1 import model_pb2, policy_pb2
from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.checker.journal import Entry, Told
from tests.checker.replicas import Replicas

_UNSURE: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
    }
)
_ATTEMPTS: Final = 4
_TIMEOUT: Final = 4.0

SIGNATURE: Final = model_pb2.Signature(
    inputs=[model_pb2.TensorSpec(name="x", datatype="FP32", shape=[-1, 4])],
    outputs=[model_pb2.TensorSpec(name="y", datatype="FP32", shape=[-1, 2])],
    task="classification",
    classes=["no", "yes"],
)
ARTIFACT: Final = model_pb2.Artifact(uri="file:///models/m", digest="sha256:" + "a" * 64, size_bytes=1)


def plan() -> service_pb2.RolloutSpec:
    """Two steps."""
    steps = [policy_pb2.Step(share_bps=share, period=Duration(seconds=3600)) for share in (500, 5000)]
    return service_pb2.RolloutSpec(plan=policy_pb2.TrafficPlan(steps=steps))


class Client:
    """One client.

    Args:
        number: its number, which seeds what it does.
        replicas: whom it asks.
        models: what about.
        seed: of the run.
    """

    def __init__(self, number: int, replicas: Replicas, models: list[str], seed: int) -> None:
        self._number = number
        self._replicas = replicas
        self._models = models
        self._rng = random.Random(f"{seed}/{number}")
        self._seen: dict[str, resources_pb2.Model] = {}
        self._count = 0
        self.journal: list[Entry] = []
        self.found: list[str] = []

    async def run(self, until: float) -> None:
        """Asks until a moment of the monotonic clock."""
        while time.monotonic() < until:
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
            self._seen[model] = await self._stub().GetModel(request, timeout=_TIMEOUT)
        return self._seen[model]

    def _lane(self, model: resources_pb2.Model) -> resources_pb2.Lane:
        return self._rng.choice([lane for lane in model.lanes for _ in range(1 if lane.segment else 4)])

    async def _rollout(self, model: str, lane: resources_pb2.Lane) -> resources_pb2.Rollout:
        # The live one, or any: what has ended must not move.
        name = lane.rollout if lane.rollout and self._rng.random() < 0.9 else f"models/{model}/rollouts/1"
        found: resources_pb2.Rollout = await self._stub().GetRollout(
            service_pb2.GetRolloutRequest(name=name), timeout=_TIMEOUT
        )
        return found

    def _stub(self) -> Any:
        return self._rng.choice(self._replicas.stubs)

    def _one_in(self, number: int) -> bool:
        return self._rng.randrange(number) == 0

    def _etag(self, etag: str) -> str:
        return "never" if self._one_in(20) else etag

    def _of(self, lane: resources_pb2.Lane, state: str) -> str:
        wanted = resources_pb2.VersionState.Value(f"VERSION_STATE_{state}")
        known = [one.version for one in lane.versions if one.state == wanted]
        every = [one.version for one in lane.versions] or ["v1"]
        return self._rng.choice(known if known and not self._one_in(10) else every)

    def marker(self) -> str:
        """A word for one operation's event."""
        self._count += 1
        return f"op-{self._number}-{self._count}"

    async def operate(self, kind: str, model: str, marker: str, request: Any) -> None:
        """Sends a mutation, again and again under its id while it is not known what became of it."""
        request.request_id = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        began, unsure, told, code, answer = time.monotonic(), False, Told.UNKNOWN, "", None
        for attempt in range(_ATTEMPTS):
            hasty = attempt == 0 and self._one_in(15)
            timeout = self._rng.uniform(0.005, 0.06) if hasty else _TIMEOUT
            try:
                answer = await getattr(self._stub(), kind)(request, timeout=timeout)
                told = Told.OK
                break
            except grpc.aio.AioRpcError as error:
                code = error.code().name
                if error.code() is grpc.StatusCode.INTERNAL:
                    self.found.append(f"{kind} of {model} ({marker}): {error.details()}")
                if error.code() not in _UNSURE:
                    told = Told.UNKNOWN if unsure else Told.REFUSED
                    break
                unsure = True
                await asyncio.sleep(self._rng.uniform(0.0, 0.1))
        if marker:
            self.journal.append(Entry(model, kind, marker, began, time.monotonic(), told, code))
        if told is Told.OK and self._one_in(4):
            await self._again(kind, model, marker, request, answer)

    async def _again(self, kind: str, model: str, marker: str, request: Any, answer: Any) -> None:
        """The same request once more: the same answer, word for word."""
        try:
            again = await getattr(self._stub(), kind)(request, timeout=_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            if error.code() not in _UNSURE:
                self.found.append(f"{kind} of {model} ({marker}) repeated was refused: {error.details()}")
            return
        if again != answer:
            self.found.append(f"{kind} of {model} ({marker}) repeated had another answer")

    async def publish(self, model: str, lane: resources_pb2.Lane) -> None:
        """A new version, its id chosen by the client or by the Registry."""
        marker = self.marker()
        version = resources_pb2.Version(artifact=ARTIFACT, signature=SIGNATURE, description=marker)
        without = self._one_in(3)
        request = service_pb2.PublishVersionRequest(
            parent=f"models/{model}",
            version=version,
            version_id=marker if self._one_in(2) else "",
            segment=lane.segment,
            without_rollout=without,
            rollout=None if without else plan(),
        )
        await self.operate("PublishVersion", model, marker, request)

    async def start(self, model: str, lane: resources_pb2.Lane) -> None:
        """A rollout; its event has a reason of its own, so that nothing is written down."""
        request = service_pb2.StartRolloutRequest(
            version=f"models/{model}/versions/{self._of(lane, 'PENDING')}",
            segment=lane.segment,
            rollout=plan(),
            etag=self._etag(lane.etag),
        )
        await self.operate("StartRollout", model, "", request)

    async def move(self, model: str, lane: resources_pb2.Lane) -> None:
        """A transition of a rollout."""
        rollout = await self._rollout(model, lane)
        marker = self.marker()
        common: dict[str, Any] = {"name": rollout.name, "etag": self._etag(rollout.etag)}
        outcome = resources_pb2.Outcome(reason=marker)
        force = not self._one_in(3)
        kind, request = self._rng.choice(
            (
                ("PauseRollout", service_pb2.PauseRolloutRequest(**common, reason=marker)),
                ("ResumeRollout", service_pb2.ResumeRolloutRequest(**common, reason=marker)),
                ("AdvanceRollout", service_pb2.AdvanceRolloutRequest(**common, reason=marker, force=force)),
                ("PromoteRollout", service_pb2.PromoteRolloutRequest(**common, outcome=outcome, force=force)),
                ("RollbackRollout", service_pb2.RollbackRolloutRequest(**common, outcome=outcome)),
                ("CancelRollout", service_pb2.CancelRolloutRequest(**common, outcome=outcome)),
            )
        )
        await self.operate(kind, model, marker, request)

    async def undo(self, model: str, lane: resources_pb2.Lane) -> None:
        """Back to an earlier version."""
        marker = self.marker()
        request = service_pb2.UndoLaneRequest(
            model=f"models/{model}",
            segment=lane.segment,
            version=self._of(lane, "DEPRECATED") if self._one_in(2) else "",
            bad=self._one_in(4),
            cancel_rollout=self._one_in(2),
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
        """The segment gets a lane; one that has it already gets no event, so that nothing is written down."""
        del lane
        request = service_pb2.SetSegmentRequest(
            model=f"models/{model}", segment="eu", etag=self._etag(self._seen[model].etag)
        )
        await self.operate("SetSegment", model, "", request)

    async def delete_segment(self, model: str, lane: resources_pb2.Lane) -> None:
        """The segment's lane is taken away."""
        if not lane.segment:
            return
        marker = self.marker()
        request = service_pb2.DeleteSegmentRequest(
            model=f"models/{model}",
            segment="eu",
            cancel_rollout=self._one_in(2),
            reason=marker,
            etag=self._etag(lane.etag),
        )
        await self.operate("DeleteSegment", model, marker, request)


_Operation = Callable[[Client, str, resources_pb2.Lane], Awaitable[None]]
_OPERATIONS: Final[tuple[_Operation, ...]] = (
    *(Client.publish,) * 4,
    *(Client.start,) * 3,
    *(Client.move,) * 9,
    *(Client.undo,) * 2,
    Client.withdraw,
    Client.set_segment,
    Client.delete_segment,
)
