"""Registries as processes on a PostgreSQL of their own, for benchmarks.

With CROSSFADE_BENCH_DATABASE (cockroachdb+psycopg://USER@HOST:26257/NAME), on the server of that URL instead: in a
database of their own beside the one that it names.
"""

import asyncio
import contextlib
import os
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import grpc
from grpc import aio

from benchmarks.given_server import GivenServer
from benchmarks.served import free_address
from crossfade.common.v1 import model_pb2
from crossfade.registry.v1 import resources_pb2, service_pb2, service_pb2_grpc
from registry.migrating import migrate_database
from registry.settings import RegistrySettings
from services.local.postgres import Postgres

Stub: TypeAlias = "service_pb2_grpc.RegistryServiceAsyncStub"

_SIGNATURE = model_pb2.Signature(
    inputs=[model_pb2.TensorSpec(name="x", datatype="FP32", shape=[-1, 4])],
    outputs=[model_pb2.TensorSpec(name="y", datatype="FP32", shape=[-1, 2])],
    task="classification",
    classes=["no", "yes"],
)


@dataclass(frozen=True, slots=True)
class Registries:
    """Replicas on one database."""

    database: str
    stubs: "list[Stub]"


@contextlib.asynccontextmanager
async def registries(count: int, module: str = "registry") -> AsyncIterator[Registries]:
    """Starts so many replicas (or processes of another module) on a database of their own."""
    with _database() as database:
        migrate_database(RegistrySettings(database=database), check_only=False)
        async with contextlib.AsyncExitStack() as stack:
            stubs = [await stack.enter_async_context(registry(database, module)) for _ in range(count)]
            yield Registries(database, stubs)


@contextlib.contextmanager
def _database() -> Iterator[str]:
    """The URL of an empty database, of a PostgreSQL that syncs to its disk if none is given."""
    if url := os.environ.get("CROSSFADE_BENCH_DATABASE"):
        given, name = GivenServer(url), f"bench_{uuid.uuid4().hex}"
        given.create_database(name)
        try:
            yield given.url(name)
        finally:
            given.drop_database(name)
        return
    with tempfile.TemporaryDirectory() as folder, Postgres(Path(folder) / "postgres") as server:
        server.create_database("registry")
        yield server.url("registry")


@contextlib.asynccontextmanager
async def registry(database: str, module: str = "registry") -> "AsyncIterator[Stub]":
    """Starts one replica on a database that has been migrated."""
    address = free_address()
    settings = {"CROSSFADE_DATABASE": database, "CROSSFADE_LISTEN": address, "CROSSFADE_LOG_LEVEL": "error"}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", module, env={**os.environ, **settings})
    try:
        async with aio.insecure_channel(address) as channel:
            stub: Stub = service_pb2_grpc.RegistryServiceStub(channel)
            async with asyncio.timeout(60):
                while True:
                    try:
                        await stub.ListModels(service_pb2.ListModelsRequest())
                        break
                    except aio.AioRpcError as error:
                        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                            break
                    await asyncio.sleep(0.1)
            yield stub
    finally:
        process.terminate()
        await process.wait()


def new_id() -> str:
    """A request id."""
    return str(uuid.uuid4())


async def publish(stub: "Stub", model: str) -> service_pb2.PublishVersionResponse:
    """A version of a model, the next one by its number."""
    artifact = model_pb2.Artifact(uri="file:///m", digest="sha256:" + "a" * 64, size_bytes=1)
    version = resources_pb2.Version(artifact=artifact, signature=_SIGNATURE)
    request = service_pb2.PublishVersionRequest(parent=f"models/{model}", version=version, request_id=new_id())
    return await stub.PublishVersion(request)


async def report_ready(stub: "Stub", model: str, worker: str, *versions: str, control: str = "") -> None:
    """A Worker of this id has versions ready, and one of them as a control process as well."""
    kinds = [(version, model_pb2.TRAFFIC_LIVE) for version in versions]
    kinds += [(control, model_pb2.TRAFFIC_CONTROL)] if control else []
    serving = [
        resources_pb2.Serving(
            model=model, version=name, traffic=kind, address="127.0.0.1:1", state=resources_pb2.SERVING_STATE_READY
        )
        for name, kind in kinds
    ]
    instance = resources_pb2.Instance(
        instance_id=worker, kind=resources_pb2.INSTANCE_KIND_WORKER, address="127.0.0.1:1", serving=serving
    )
    request = service_pb2.ReportInstanceRequest(instance=instance)
    request.ttl.seconds = 600
    await stub.ReportInstance(request)


async def running(stub: "Stub", model: str) -> resources_pb2.Rollout:
    """A model with v1 stable and v2 under test."""
    await stub.CreateModel(service_pb2.CreateModelRequest(model_id=model, request_id=new_id()))
    worker = new_id()
    await publish(stub, model)
    await report_ready(stub, model, worker, "v1")
    await publish(stub, model)
    await report_ready(stub, model, worker, "v1", "v2", control="v1")
    return await stub.GetRollout(service_pb2.GetRolloutRequest(name=f"models/{model}/rollouts/1"))


async def pause_or_resume(stub: "Stub", name: str) -> None:
    """Reads a rollout, and pauses it if it runs; resumes it otherwise."""
    rollout = await stub.GetRollout(service_pb2.GetRolloutRequest(name=name))
    if rollout.state == resources_pb2.ROLLOUT_STATE_RUNNING:
        await stub.PauseRollout(service_pb2.PauseRolloutRequest(name=name, etag=rollout.etag, request_id=new_id()))
    else:
        await stub.ResumeRollout(service_pb2.ResumeRolloutRequest(name=name, etag=rollout.etag, request_id=new_id()))
