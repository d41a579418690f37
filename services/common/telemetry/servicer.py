"""TelemetryService: hands out the process's cumulative metrics.

The loop that encodes them carries Predict as well: 10,000 series take most of a second. So one encoding is under way at
a time, in slices between which others run, and all who ask for the same at that time share the next one. Nothing is
kept: each answer's counts are of a moment after its request, as the Evaluator relies on. Of a model its own series are
read and no others: of 2,000 models each is asked for on its own, twice a minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any, Final, NamedTuple, Protocol

from grpc import aio

from crossfade.telemetry.v1 import telemetry_pb2, telemetry_pb2_grpc
from services.common.clock import steady_ns
from services.common.telemetry import otlp
from services.common.telemetry.store import Snapshot


class Collect(Protocol):
    """Gives every series at one moment, or at least every one of a model."""

    def __call__(self, model: str = "") -> Awaitable[Iterable[Snapshot]]: ...


_SLICE_NUMBERS: Final = 1_000
"""Numbers that are encoded before others run; they take about 1 ms."""
_SERIES_NUMBERS: Final = 30
"""A series takes as long as so many numbers, besides its own."""
_PAUSE_SECONDS: Final = 0.05
"""Between two rounds: to freeze 10,000 series takes 40 ms, in which nothing else runs."""


class _Wanted(NamedTuple):
    """What a request asks for.

    Attributes:
        names: the metrics; empty: all.
        model: the model; empty: all.
    """

    names: frozenset[str]
    model: str

    def has(self, snapshot: Snapshot) -> bool:
        metric = snapshot.metric
        if self.names and metric.name not in self.names:
            return False
        if not self.model:
            return True
        return "model" in metric.attributes and snapshot.attributes[metric.attributes.index("model")] == self.model


class _Waiting:
    """Callers who wait for the same answer."""

    def __init__(self) -> None:
        self.callers = 0
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()


class TelemetryServicer(telemetry_pb2_grpc.TelemetryServiceServicer):
    """Serves what `collect` gives.

    Args:
        resource: which process this is.
        collect: gives the series at this moment: all of one instant, so that successes and failures belong together.
    """

    def __init__(self, resource: otlp.Resource, collect: Collect) -> None:
        self._resource = resource
        self._collect = collect
        self._waiting: dict[_Wanted, _Waiting] = {}
        self._rounds: asyncio.Task[None] | None = None

    async def GetMetrics(  # noqa: N802 - the method's name in the contract
        self,
        request: telemetry_pb2.GetMetricsRequest,
        context: aio.ServicerContext[Any, Any],
    ) -> telemetry_pb2.GetMetricsResponse:
        """The series asked for."""
        del context
        wanted = _Wanted(frozenset(request.names), request.model)
        waiting = self._waiting.get(wanted)
        if waiting is None:
            waiting = self._waiting[wanted] = _Waiting()
        if self._rounds is None:
            self._rounds = asyncio.create_task(self._answer())
        waiting.callers += 1
        try:
            return telemetry_pb2.GetMetricsResponse(metrics_data=await asyncio.shield(waiting.answer))
        finally:
            waiting.callers -= 1

    async def _answer(self) -> None:
        """Answers all who wait, round after round, until nobody does."""
        try:
            while self._waiting:
                # Whoever comes from here on waits for the next round, whose counts are newer.
                now, self._waiting = self._waiting, {}
                await self._round(now)
                await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            self._rounds = None

    async def _round(self, asked: dict[_Wanted, _Waiting]) -> None:
        try:
            # Whoever asks for all pays for reading all, from which the others have theirs as well.
            if any(not wanted.model for wanted in asked):
                await self._read("", asked)
                return
            for model in {wanted.model for wanted in asked}:
                await self._read(model, {wanted: one for wanted, one in asked.items() if wanted.model == model})
        except Exception as error:  # noqa: BLE001 - it is the callers' to hear of
            for waiting in asked.values():
                if waiting.callers and not waiting.answer.done():
                    waiting.answer.set_exception(error)
        finally:
            for waiting in asked.values():
                waiting.answer.cancel()

    async def _read(self, model: str, asked: Mapping[_Wanted, _Waiting]) -> None:
        """Answers those who ask for a model, or anybody where all are read."""
        snapshots = list(await self._collect(model))
        moment = steady_ns()
        for wanted, waiting in asked.items():
            if waiting.callers:
                waiting.answer.set_result(await self._encoded(snapshots, moment, wanted, waiting))

    async def _encoded(self, snapshots: list[Snapshot], moment: int, wanted: _Wanted, waiting: _Waiting) -> bytes:
        encoder = otlp.Encoder(self._resource, moment)
        numbers = 0
        for snapshot in snapshots:
            if wanted.has(snapshot):
                encoder.add(snapshot)
                numbers += _SERIES_NUMBERS + len(snapshot.counts)
            else:
                numbers += 1
            if numbers >= _SLICE_NUMBERS:
                numbers = 0
                await asyncio.sleep(0)
                if not waiting.callers:
                    break
        return encoder.result()
