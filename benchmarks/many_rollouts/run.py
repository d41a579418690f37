"""Publishes versions one after the other, and watches what becomes of them; it decides nothing."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Container
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
import psutil

from benchmarks.many_rollouts import footprint
from benchmarks.many_rollouts.callers import MODEL, Callers
from benchmarks.many_rollouts.versions import Kind, Turn, packaged, rows
from benchmarks.registries import new_id
from crossfade.answers import PredictError
from crossfade.client import AsyncClient
from crossfade.enum_names import enum_name
from crossfade.policy_file import parse_policy
from crossfade.publishing import version_of
from crossfade.registry.v1 import resources_pb2, service_pb2
from services.local.stack import Ports, Stack

POLICY: Final = """
plan:
  - {share: 20%, period: 2m}
  - {share: 50%, period: 2m}
look_interval: 1s
settling: 1s
labels: {min_age: 1s}
gates:
  - {metric: errors, required: true, harm: {factor: 1.1, offset: 0.01}, safe: {factor: 1.5, offset: 0.1}}
  - {metric: runtime, required: true, harm: {buckets: 20}, safe: {buckets: 24}}
  - {metric: accuracy, required: true, harm: {offset: 0.03}, safe: {offset: 0.1}}
  - {metric: input_drift}
"""
_STATES: Final = resources_pb2.RolloutState
_EXPECTED: Final = {
    Kind.GOOD: _STATES.ROLLOUT_STATE_PROMOTED,
    Kind.WRONG: _STATES.ROLLOUT_STATE_ROLLED_BACK,
    Kind.FAILING: _STATES.ROLLOUT_STATE_ROLLED_BACK,
}
_ENDED: Final = frozenset({*_EXPECTED.values(), _STATES.ROLLOUT_STATE_INCONCLUSIVE, _STATES.ROLLOUT_STATE_CANCELLED})
_LIMIT_SECONDS: Final = 300.0
_POLL: Final = 0.25
_QUIET_SECONDS: Final = 4.0


class Run:
    """One run.

    Args:
        stack: the services.
        ports: where they listen.
        folder: for artifacts and data.
        registry: the Registry's stub.
        client: calls the Router.
        callers: call it without end.
    """

    def __init__(
        self, stack: Stack, ports: Ports, folder: Path, registry: Any, client: AsyncClient, callers: Callers
    ) -> None:
        self._stack = stack
        self._ports = ports
        self._folder = folder
        self._registry = registry
        self._client = client
        self._callers = callers
        self._readings: dict[int, dict[str, float]] = {}
        self._seconds: list[float] = []
        self._wrong: list[str] = []
        self._kills = 0

    async def first(self) -> None:
        """Publishes the first version, and waits until it answers."""
        await self._registry.CreateModel(service_pb2.CreateModelRequest(model_id=MODEL, request_id=new_id()))
        await self._publish(Turn(1, Kind.GOOD))
        async with asyncio.timeout(60):
            while True:
                try:
                    await self._client.predict(MODEL, rows(1), timeout=1.0)
                    return
                except PredictError:
                    await asyncio.sleep(_POLL)

    async def rollout(self, one: Turn, victim: str = "") -> None:
        """One rollout from its publication to its end.

        Args:
            one: what is published.
            victim: the service that is killed on the way; empty: none.
        """
        if one.segment:
            await self._set_segment(one.segment)
        began = time.monotonic()
        self._callers.note(f"{one.version} is published ({one.kind})")
        published = await self._publish(one)
        if victim:
            await self._kill(published.rollout.name, victim)
        ended = await self._until(published.rollout.name, _ENDED)
        self._seconds.append(time.monotonic() - began)
        self._callers.note(f"{one.version} has ended")
        state = enum_name(_STATES.DESCRIPTOR, ended.state)
        if ended.state != _EXPECTED[one.kind]:
            self._wrong.append(f"{one.version} ({one.kind}): {state}: {ended.outcome.reason or ended.note}")
        print(f"{one.version} {one.segment} {one.kind} {state} {self._seconds[-1]:.1f} s {victim}", flush=True)
        if one.segment:
            await self._delete_segment(one.segment)

    async def _until(self, name: str, states: Container[int]) -> resources_pb2.Rollout:
        """The rollout when it has one of the states, or as it is when there is no more time."""
        rollout = resources_pb2.Rollout()
        until = time.monotonic() + _LIMIT_SECONDS
        while rollout.state not in states and time.monotonic() < until:
            await asyncio.sleep(_POLL)
            rollout = await self._asked("GetRollout", service_pb2.GetRolloutRequest(name=name))
        return rollout

    async def _kill(self, name: str, victim: str) -> None:
        await self._until(name, {_STATES.ROLLOUT_STATE_RUNNING, *_ENDED})
        os.kill(self._stack.processes[victim].pid, signal.SIGKILL)
        self._kills += 1

    async def _asked(self, method: str, request: Any) -> Any:
        """An answer, of a Registry that may just be killed."""
        async with asyncio.timeout(60):
            while True:
                try:
                    return await getattr(self._registry, method)(request, timeout=5.0)
                except grpc.aio.AioRpcError as error:
                    if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                        raise
                    await asyncio.sleep(_POLL)

    async def _publish(self, one: Turn) -> service_pb2.PublishVersionResponse:
        artifact = await asyncio.to_thread(packaged, one, self._folder)
        document = parse_policy(POLICY)
        request = service_pb2.PublishVersionRequest(
            parent=f"models/{MODEL}",
            version_id=one.version,
            version=version_of(artifact),
            segment=one.segment,
            rollout=service_pb2.RolloutSpec(plan=document.plan, policy=document.policy),
            request_id=new_id(),
        )
        answer: service_pb2.PublishVersionResponse = await self._asked("PublishVersion", request)
        return answer

    async def _set_segment(self, segment: str) -> None:
        model = await self._asked("GetModel", service_pb2.GetModelRequest(name=f"models/{MODEL}"))
        request = service_pb2.SetSegmentRequest(
            model=f"models/{MODEL}", segment=segment, etag=model.etag, request_id=new_id()
        )
        await self._asked("SetSegment", request)
        self._callers.segments = ("", segment)

    async def _delete_segment(self, segment: str) -> None:
        self._callers.segments = ("",)
        model = await self._asked("GetModel", service_pb2.GetModelRequest(name=f"models/{MODEL}"))
        (lane,) = (lane for lane in model.lanes if lane.segment == segment)
        request = service_pb2.DeleteSegmentRequest(
            model=f"models/{MODEL}", segment=segment, etag=lane.etag, request_id=new_id()
        )
        await self._asked("DeleteSegment", request)

    async def read(self, rollouts: int) -> None:
        """Reads what the services take after so many rollouts."""
        await asyncio.sleep(_QUIET_SECONDS)
        found: dict[str, float] = {}
        for name, process in self._stack.processes.items():
            found |= footprint.of_process(name, process.pid)
            found |= await footprint.of_metrics(name, self._ports.address(name))
        registry = psutil.Process(self._stack.processes["registry"].pid)
        found |= footprint.of_database(registry.environ()["CROSSFADE_DATABASE"])
        found |= footprint.of_disk(self._folder / "data")
        self._readings[rollouts] = found
        print(f"after {rollouts}: {json.dumps(found)}", flush=True)

    def result(self) -> dict[str, Any]:
        """All figures."""
        late = list(self._readings)[len(self._readings) // 2 :]
        growth: dict[str, float] = {}
        if len(late) > 1:
            for figure in self._readings[late[-1]]:
                slope = np.polyfit(late, [self._readings[at][figure] for at in late], 1)[0]
                growth[f"{figure}_per_100"] = round(100.0 * float(slope), 1)
        callers = self._callers
        return {
            "rollouts": len(self._seconds),
            "kills": self._kills,
            "wrong_outcomes": len(self._wrong),
            "wrong": self._wrong,
            "calls": callers.sent,
            "failed_calls": len(callers.failures),
            "failures": callers.failures[:5],
            "lost_calls": callers.sent - callers.answered.total() - len(callers.failures),
            "median_seconds": round(float(np.median(self._seconds)), 1),
            **growth,
        }
