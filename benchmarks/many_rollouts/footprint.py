"""What a suite takes at one moment: memory, threads, open files, series, rows and bytes on the disk."""

from pathlib import Path

import grpc
import psutil
from sqlalchemy import create_engine, text

from benchmarks.load import family
from crossfade.cli.render.traffic import decode
from crossfade.telemetry.v1 import telemetry_pb2, telemetry_pb2_grpc


def of_process(name: str, pid: int) -> dict[str, float]:
    """Memory that a service and its children hold by themselves, MB; their threads, open files and number."""
    processes = family((pid,))
    found = {"mb": 0.0, "threads": 0.0, "files": 0.0, "processes": float(len(processes))}
    for one in processes:
        try:
            found["mb"] += one.memory_full_info().uss / 1e6
            found["threads"] += one.num_threads()
            found["files"] += one.num_fds()
        except psutil.NoSuchProcess:
            continue
    return {f"{name}_{figure}": round(value, 1) for figure, value in found.items()}


async def of_metrics(name: str, address: str) -> dict[str, float]:
    """Series that a service tells."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub = telemetry_pb2_grpc.TelemetryServiceStub(channel)
        answer = await stub.GetMetrics(telemetry_pb2.GetMetricsRequest())
    return {f"{name}_series": float(len(decode(answer.metrics_data)))}


def of_database(url: str) -> dict[str, float]:
    """MB of the Registry's database."""
    engine = create_engine(url)
    with engine.connect() as connection:
        size = connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
    engine.dispose()
    return {"database_mb": round(float(size) / 1e6, 1)}


def of_disk(folder: Path) -> dict[str, float]:
    """MB of the logs and of the cached artifacts of a data folder."""
    sizes = {"logs_mb": 0.0, "cache_mb": 0.0}
    for part, name in (("logs", "logs_mb"), ("artifacts", "cache_mb")):
        for file in (folder / part).rglob("*"):
            if file.is_file():
                sizes[name] += file.stat().st_size / 1e6
    return {name: round(value, 1) for name, value in sizes.items()}
