"""The model that benchmarks serve, the Worker's process that serves it, and requests for it."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np

from benchmarks import nets
from crossfade.artifact import Artifact, package
from crossfade.predict.v1 import predict_pb2
from services.common.ports import free_port
from services.common.telemetry import catalog
from services.worker.credentials import read_credentials
from services.worker.domain import Context, LaneContext, ServingKey, Traffic
from services.worker.pipes import messages
from services.worker.pipes.link import Link
from services.worker.process_config import ChildConfig
from services.worker.settings import WorkerSettings
from services.worker.supervisor.cores import pins
from services.worker.supervisor.process import ForkServer, VersionProcess


@dataclass(frozen=True, slots=True)
class Way:
    """A server, or a hop on the way to one: its address and process.

    Attributes:
        link: to a Worker's version, which tells what it has counted; None: it is something else.
    """

    address: str
    pid: int
    link: Link | None = None


def package_net(folder: Path, name: str = "mlp", *, profiled: bool = True) -> Artifact:
    """A network of `benchmarks.nets` as an artifact; the MLP's has a profile of 20 features if `profiled`."""
    counted = profiled and name == "mlp"
    return package(
        nets.make(name),
        example=rows(32, name),
        reference=rows(500, name) if counted else None,
        features=range(20) if counted else None,
        task="classification",
        classes=[str(index) for index in range(nets.CLASSES)],
        to=folder,
    )


def rows(count: int, name: str = "mlp") -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    """Seeded normal noise, [count, ...]."""
    return np.random.default_rng(0).standard_normal((count, *nets.SHAPES[name]), dtype=np.float32)


def request(name: str = "mlp") -> bytes:
    """A Predict call of one row: 1 KiB of contents for the MLP."""
    message = predict_pb2.PredictRequest(model_name=name, id="1", raw_input_contents=[rows(1, name).tobytes()])
    message.inputs.add(name="input", datatype="FP32", shape=(1, *nets.SHAPES[name]))
    return message.SerializeToString()


def token_keys(folder: Path) -> Path:
    """A file in that folder with a key for prediction ids, as a setting names one."""
    path = folder / "keys"
    path.write_text("1 " + "5a" * 32 + "\n")
    return path


@contextlib.asynccontextmanager
async def serve(
    forks: ForkServer,
    artifact: Artifact,
    settings: WorkerSettings,
    name: str = "mlp",
    cores: frozenset[int] = frozenset(),
    version: str = "v1",
) -> AsyncIterator[Way]:
    """The Worker's processes of that version, without a supervisor's leases; `cores`: their processors, if not any."""
    pinned = pins((), cores or os.sched_getaffinity(0), settings.front_ends, settings.pin_front_ends)
    address = free_address()
    key = ServingKey(name, version, Traffic.LIVE)
    credentials = read_credentials(settings)
    process = await forks.start(
        ChildConfig(
            key=key,
            folder=artifact.path,
            address=address,
            settings=settings,
            instance_id="benchmark",
            ordered_at=time.monotonic(),
            credentials=credentials,
            cores=cores,
            pinned=pinned,
        )
    )
    process.link.send(messages.Tell(Context((LaneContext("", 1, 300.0),)), ()))
    following = asyncio.create_task(_follow(process))
    try:
        yield Way(address, process.pid, process.link)
    finally:
        process.kill()
        await following


async def _follow(process: VersionProcess) -> None:
    async for message, _ in process.link.reports():
        if isinstance(message, messages.Failed):
            raise RuntimeError(message.message)


async def until_serving(address: str) -> None:
    """Waits until a server answers, two minutes at most."""
    async with grpc.aio.insecure_channel(address) as channel:
        async with asyncio.timeout(120):
            await channel.channel_ready()


async def answered(way: Way, outcome: str = "ok") -> int:
    """How many calls a version has answered so, as it has counted itself."""
    if way.link is None:
        raise ValueError(f"{way.address} is no version of a Worker")
    snapshots = await way.link.counts(10.0)
    place = catalog.WORKER_DURATION.attributes.index("outcome")
    return sum(
        sum(one.counts)
        for one in snapshots or ()
        if one.metric is catalog.WORKER_DURATION and one.attributes[place] == outcome
    )


def free_address() -> str:
    """A loopback address that nobody listens at."""
    return f"127.0.0.1:{free_port()}"
