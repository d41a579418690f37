"""Who asks Registries that are killed meanwhile, and writes down what was asked and told."""

import asyncio
import random
import time
import uuid
from typing import Any, Final

import grpc

from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.checker.journal import Entry, Told, marker
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
_ATTEMPTS: Final = 5
_PAUSE_SECONDS: Final = 0.1
"""Between the first two attempts; each later pause is twice as long: a replica takes a second or two to come back."""
TIMEOUT: Final = 4.0
_NEVER: Final = "never"
"""An etag that nothing ever had."""


class Caller:
    """Asks, and asks again.

    Args:
        number: its number, which seeds what it does.
        replicas: whom it asks.
        seed: of the run.
    """

    def __init__(self, number: int, replicas: Replicas, seed: int) -> None:
        self._number = number
        self._replicas = replicas
        self._rng = random.Random(f"{seed}/{number}")
        self._count = 0
        self.journal: list[Entry] = []
        self.found: list[str] = []

    def _stub(self) -> Any:
        return self._rng.choice(self._replicas.stubs)

    def _one_in(self, number: int) -> bool:
        return self._rng.randrange(number) == 0

    def _etag(self, etag: str) -> str:
        return _NEVER if self._one_in(20) else etag

    def _of(self, lane: resources_pb2.Lane, state: str) -> str:
        wanted = resources_pb2.VersionState.Value(f"VERSION_STATE_{state}")
        known = [one.version for one in lane.versions if one.state == wanted]
        every = [one.version for one in lane.versions] or ["v1"]
        return self._rng.choice(known if known and not self._one_in(10) else every)

    async def _rollout(self, model: str, lane: resources_pb2.Lane) -> resources_pb2.Rollout:
        # The live one, or any: what has ended must not move.
        name = lane.rollout if lane.rollout and self._rng.random() < 0.9 else f"models/{model}/rollouts/1"
        found: resources_pb2.Rollout = await self._stub().GetRollout(
            service_pb2.GetRolloutRequest(name=name), timeout=TIMEOUT
        )
        return found

    def marker(self) -> str:
        """A word for one operation."""
        self._count += 1
        return marker(self._number, self._count)

    async def operate(self, kind: str, model: str, marker: str, request: Any, *, times: int = 1) -> Told:
        """Sends a mutation, again and again under its id while it is not known what became of it."""
        request.request_id = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        began, unsure, told, code, answer = time.monotonic(), False, Told.UNKNOWN, "", None
        for attempt in range(_ATTEMPTS):
            hasty = attempt == 0 and self._one_in(15)
            timeout = self._rng.uniform(0.005, 0.06) if hasty else TIMEOUT
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
                await asyncio.sleep(self._rng.uniform(0.0, _PAUSE_SECONDS * 2**attempt))
        if _rests_on_nothing(request):
            times = 0
            if told is Told.OK:
                self.found.append(f"{kind} of {model} ({marker}) was carried out, with an etag that nothing ever had")
        event = answer.event_sequence if kind == "UpdateModel" and answer is not None else 0
        self.journal.append(Entry(model, kind, marker, began, time.monotonic(), told, code, times, event))
        if told is Told.OK and self._one_in(4):
            await self._again(kind, model, marker, request, answer)
        return told

    async def _again(self, kind: str, model: str, marker: str, request: Any, answer: Any) -> None:
        """The same request once more: the same answer, word for word."""
        try:
            again = await getattr(self._stub(), kind)(request, timeout=TIMEOUT)
        except grpc.aio.AioRpcError as error:
            if error.code() not in _UNSURE:
                self.found.append(f"{kind} of {model} ({marker}) repeated was refused: {error.details()}")
            return
        if again != answer:
            self.found.append(f"{kind} of {model} ({marker}) repeated had another answer")


def _rests_on_nothing(request: Any) -> bool:
    """Whether the state that its caller says it has seen never was."""
    seen = request.model if isinstance(request, service_pb2.UpdateModelRequest) else request
    return getattr(seen, "etag", "") == _NEVER
