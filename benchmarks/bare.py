"""The least that a hop can cost with grpc.aio: a forwarder that looks at nothing.

`python -m benchmarks.bare forward ADDRESS TARGET`.
"""

import asyncio
import sys
from typing import Any

import grpc

from benchmarks.load import METHOD

_SERVICE, _NAME = METHOD[1:].split("/")


async def _forward(address: str, target: str) -> None:
    async with grpc.aio.insecure_channel(target) as channel:
        call: Any = channel.unary_unary(METHOD)

        async def behavior(body: bytes, _: Any) -> bytes:
            answer: bytes = await call(body, timeout=10)
            return answer

        server = grpc.aio.server()
        handlers: dict[str, Any] = {_NAME: grpc.unary_unary_rpc_method_handler(behavior)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
        server.add_insecure_port(address)
        await server.start()
        await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_forward(sys.argv[2], sys.argv[3]))
