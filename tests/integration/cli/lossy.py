"""A way to the Registry that loses answers: the call has been carried out, and nobody hears of it."""

from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc

from crossfade.connection import USER_KEY

_METHODS = "/crossfade.registry.v1.RegistryService/"


class Lossy(grpc.GenericRpcHandler):
    """Hands every call on.

    Args:
        registry: the Registry's host:port.

    Attributes:
        lost: how many answers to changes are lost from now on.
        address: where it listens.
    """

    def __init__(self, registry: str) -> None:
        self.lost = 0
        self.address = ""
        self._channel = grpc.insecure_channel(registry)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """Hands one call on."""
        method = handler_call_details.method
        called: Callable[..., bytes] = self._channel.unary_unary(method, None, None)
        user = tuple(pair for pair in handler_call_details.invocation_metadata if pair[0] == USER_KEY)

        def hand_on(request: bytes, context: grpc.ServicerContext) -> bytes:
            try:
                answer = called(request, timeout=10.0, metadata=user)
            except grpc.RpcError as error:
                known: Any = error
                context.set_trailing_metadata(tuple(known.trailing_metadata() or ()))
                context.abort(known.code(), known.details())
            if self.lost and not method.startswith((_METHODS + "Get", _METHODS + "List")):
                self.lost -= 1
                context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
            return answer

        return grpc.unary_unary_rpc_method_handler(hand_on)


@contextmanager
def lossy(registry: str) -> Iterator[Lossy]:
    """One that runs."""
    handler = Lossy(registry)
    server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[handler])
    handler.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield handler
    server.stop(None).wait()
