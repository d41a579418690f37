"""The whole suite on this machine, with small real models."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import torch
from torch import nn

from crossfade.artifact import Artifact, package
from crossfade.client import AsyncClient, PredictError
from crossfade.common.v1 import policy_pb2
from crossfade.policy_file import parse_policy
from crossfade.publishing import version_of
from crossfade.registry.v1 import resources_pb2, service_pb2, service_pb2_grpc
from services.local.stack import Ports, Stack, StackOptions
from tests.support.wait import until_async

MODEL = "sign"
PROMOTED = resources_pb2.ROLLOUT_STATE_PROMOTED
ROLLED_BACK = resources_pb2.ROLLOUT_STATE_ROLLED_BACK
ENDED = (
    PROMOTED,
    ROLLED_BACK,
    resources_pb2.ROLLOUT_STATE_INCONCLUSIVE,
    resources_pb2.ROLLOUT_STATE_CANCELLED,
)

QUICK = """
plan:
  - {share: 20%, period: 2m}
  - {share: 50%, period: 2m}
look_interval: 1s
settling: 1s
gates:
  - {metric: errors, required: true, harm: {factor: 1.1, offset: 0.01}, safe: {factor: 1.5, offset: 0.1}}
  - {metric: runtime, required: true, harm: {buckets: 20}, safe: {buckets: 24}}
"""


AB_TEST = """
plan: [{share: 50%, period: 90s}]
look_interval: 1s
settling: 1s
labels: {min_age: 1s}
gates:
  - {metric: errors, required: true, harm: {factor: 1.1, offset: 0.01}, safe: {factor: 1.5, offset: 0.1}}
  - {name: conversion, metric: value, primary: true}
"""


PAIRED = """
plan: [{mode: shadow, share: 50%, period: 2m}, {share: 50%, period: 2m}]
look_interval: 1s
settling: 1s
labels: {min_age: 1s}
gates:
  - {metric: errors, required: true, harm: {factor: 1.1, offset: 0.01}, safe: {factor: 1.5, offset: 0.1}}
  - {metric: paired_accuracy, required: true}
"""


SHADOW = QUICK.replace("- {share: 20%, period: 2m}", "- {mode: shadow, share: 40%, period: 2m}")


class Sign(nn.Module):
    """Says whether the features' sum is positive; NaN for rows whose first feature is beyond `limit`."""

    def __init__(self, scale: float, limit: float = float("inf")) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))
        self.limit = limit

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        total = rows.sum(dim=1, keepdim=True) * self.scale
        broken = torch.where(rows[:, :1] > self.limit, float("nan"), 0.0)
        return torch.cat((-total, total), dim=1) + broken


def rows(count: int, seed: int = 0) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """Rows of four features."""
    return np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Artifact]:
    """v1 and v2 are alike; v3 answers NaN for every third row, and v4 is wrong on all."""
    folder = tmp_path_factory.mktemp("artifacts")
    modules = {"v1": Sign(1.0), "v2": Sign(2.0), "v3": Sign(1.0, limit=0.4), "v4": Sign(-1.0)}
    golden = -np.abs(rows(8))
    return {
        name: package(
            module, example=rows(64), reference=rows(500), classes=["no", "yes"], golden=golden, to=folder / name
        )
        for name, module in modules.items()
    }


class Users:
    """Those who publish versions, and who call the model.

    Args:
        registry: its address.
        router: its address.
        artifacts: by version.
    """

    def __init__(self, registry: str, router: str, artifacts: Mapping[str, Artifact]) -> None:
        self.artifacts = artifacts
        self._channel = grpc.aio.insecure_channel(registry)
        self.registry: Any = service_pb2_grpc.RegistryServiceStub(self._channel)
        self.client = AsyncClient(router, timeout=10.0)

    async def create(self, model: str = MODEL) -> None:
        """Creates the model."""
        await self.registry.CreateModel(service_pb2.CreateModelRequest(model_id=model, request_id=str(uuid.uuid4())))

    async def publish(
        self, version: str, model: str = MODEL, policy: str = QUICK, *, artifact: str = "", ab_test: bool = False
    ) -> service_pb2.PublishVersionResponse:
        """Publishes a version under a policy; artifact: of another one; ab_test: by key, and it must be better."""
        document = parse_policy(policy)
        answer: service_pb2.PublishVersionResponse = await self.registry.PublishVersion(
            service_pb2.PublishVersionRequest(
                parent=f"models/{model}",
                version_id=version,
                version=version_of(self.artifacts[artifact or version]),
                rollout=service_pb2.RolloutSpec(
                    plan=document.plan,
                    policy=document.policy,
                    assignment=policy_pb2.ASSIGNMENT_KEY if ab_test else policy_pb2.ASSIGNMENT_REQUEST,
                    objective=policy_pb2.OBJECTIVE_SUPERIOR if ab_test else policy_pb2.OBJECTIVE_NON_INFERIOR,
                ),
                request_id=str(uuid.uuid4()),
            )
        )
        return answer

    async def serves(self, version: str, model: str = MODEL) -> bool:
        """Whether calls are answered by a version."""
        try:
            return (await self.client.predict(model, rows(1), timeout=2.0)).version == version
        except PredictError:
            return False

    async def until_serves(self, version: str, model: str = MODEL) -> None:
        """Waits until calls are answered by a version."""
        await until_async(lambda: self.serves(version, model), seconds=60)

    async def rollout(self, name: str) -> resources_pb2.Rollout:
        """The rollout as it is."""
        answer: resources_pb2.Rollout = await self.registry.GetRollout(service_pb2.GetRolloutRequest(name=name))
        return answer

    async def until_state(self, name: str, *states: int, seconds: float = 90) -> resources_pb2.Rollout:
        """Waits until the rollout has one of the states."""

        async def there() -> bool:
            return (await self.rollout(name)).state in states

        await until_async(there, seconds=seconds)
        return await self.rollout(name)

    async def close(self) -> None:
        """Closes the users' channels."""
        await self.client.close()
        await self._channel.close()


class House(Users):
    """A stack with its users.

    Args:
        stack: the running services.
        ports: where they listen.
        artifacts: by version.
    """

    def __init__(self, stack: Stack, ports: Ports, artifacts: Mapping[str, Artifact]) -> None:
        super().__init__(ports.address("registry"), ports.address("router"), artifacts)
        self.stack = stack
        self.ports = ports


class Load:
    """Calls at a steady rate until it is stopped.

    Args:
        client: calls the Router.
        rate: calls per second.
        model: the model's id.
        segment: the callers'.
    """

    def __init__(self, client: AsyncClient, rate: float, model: str = MODEL, segment: str = "") -> None:
        self._client = client
        self._rate = rate
        self._model = model
        self._segment = segment
        self._calls: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self.errors: list[PredictError] = []
        self.versions: list[str] = []
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        while not self._stopping.is_set():
            for _ in range(int((loop.time() - started) * self._rate) - len(self._calls)):
                self._calls.append(asyncio.create_task(self._call(len(self._calls))))
            await asyncio.sleep(0.01)

    async def _call(self, number: int) -> None:
        try:
            answer = await self._client.predict(self._model, rows(1, seed=number), segment=self._segment)
        except PredictError as error:
            self.errors.append(error)
        else:
            self.versions.append(answer.version)

    async def stop(self) -> int:
        """Waits for the calls in flight; answers how many calls there were."""
        self._stopping.set()
        await self._task
        await asyncio.gather(*self._calls)
        return len(self._calls)


@pytest.fixture
async def house(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> AsyncIterator[House]:
    """Everything is up, and v1 is stable."""
    ports = Ports.free()
    async with Stack(StackOptions(tmp_path / "data", ports, restart=False)) as stack:
        built = House(stack, ports, artifacts)
        await built.create()
        await built.publish("v1")
        await built.until_serves("v1")
        yield built
        await built.close()
