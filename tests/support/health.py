"""What a server says of itself by grpc.health.v1."""

from typing import Any

from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc


async def serves(address: str, service: str) -> bool:
    """Whether the server at host:port says that a service of its serves."""
    async with aio.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
