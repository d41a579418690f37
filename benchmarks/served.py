"""The model that benchmarks serve, the Worker's process that serves it, and requests for it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import torch

from crossfade.artifact import Artifact, package
from crossfade.predict.v1 import predict_pb2
from services.common.ports import free_port
from services.worker import messages
from services.worker.domain import Context, LaneContext, ServingKey, Traffic
from services.worker.process import ForkServer, VersionProcess
from services.worker.process_config import ChildConfig
from services.worker.settings import WorkerSettings


@dataclass(frozen=True, slots=True)
class Way:
    """A server, or a hop on the way to one: its address and process."""

    address: str
    pid: int


def package_mlp(folder: Path) -> Artifact:
    """An MLP 256-512-512-10, untrained, as an artifact."""
    torch.manual_seed(0)
    layers = torch.nn.Sequential(
        torch.nn.Linear(256, 512),
        torch.nn.ReLU(),
        torch.nn.Linear(512, 512),
        torch.nn.ReLU(),
        torch.nn.Linear(512, 10),
    )
    reference = rows(500)
    classes = [str(index) for index in range(10)]
    example = reference[:32]
    return package(layers, example=example, reference=reference, task="classification", classes=classes, to=folder)


def rows(count: int) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    """Seeded normal noise, [count, 256]."""
    return np.random.default_rng(0).standard_normal((count, 256), dtype=np.float32)


def request() -> bytes:
    """A Predict call of one row: 1 KiB of contents."""
    message = predict_pb2.PredictRequest(model_name="mlp", id="1", raw_input_contents=[rows(1).tobytes()])
    message.inputs.add(name="input", datatype="FP32", shape=(1, 256))
    return message.SerializeToString()


@contextlib.asynccontextmanager
async def serve(forks: ForkServer, artifact: Artifact, settings: WorkerSettings) -> AsyncIterator[Way]:
    """The Worker's process of that version, without a supervisor's leases."""
    address = free_address()
    key = ServingKey("mlp", "v1", Traffic.LIVE)
    process = await forks.start(ChildConfig(key, artifact.path, address, settings, "benchmark", time.monotonic()))
    process.send(messages.Tell(Context((LaneContext("", 1, 300.0),)), ()))
    following = asyncio.create_task(_follow(process))
    try:
        yield Way(address, process.pid)
    finally:
        process.kill()
        await following


async def _follow(process: VersionProcess) -> None:
    async for message in process.reports():
        if isinstance(message, messages.Failed):
            raise RuntimeError(message.message)


async def until_serving(address: str) -> None:
    """Waits until a server answers, a minute at most."""
    async with grpc.aio.insecure_channel(address) as channel:
        async with asyncio.timeout(60):
            await channel.channel_ready()


def free_address() -> str:
    """A loopback address that nobody listens at."""
    return f"127.0.0.1:{free_port()}"
