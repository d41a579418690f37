"""A receiver of a Worker's spans."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc import aio
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2


@contextlib.asynccontextmanager
async def trace_receiver() -> AsyncIterator[tuple[str, list[Any]]]:
    """An OTLP receiver: its address, and the spans that it got."""
    spans: list[Any] = []

    async def export(request: trace_service_pb2.ExportTraceServiceRequest, _: Any) -> Any:
        for group in request.resource_spans:
            for scope in group.scope_spans:
                spans.extend(scope.spans)
        return trace_service_pb2.ExportTraceServiceResponse()

    server = aio.server()
    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Export": grpc.unary_unary_rpc_method_handler(
            export,
            request_deserializer=trace_service_pb2.ExportTraceServiceRequest.FromString,
            response_serializer=trace_service_pb2.ExportTraceServiceResponse.SerializeToString,
        )
    }
    name = "opentelemetry.proto.collector.trace.v1.TraceService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"http://127.0.0.1:{port}", spans
    await server.stop(None)
