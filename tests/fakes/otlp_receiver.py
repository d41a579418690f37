"""An OTLP receiver: a real gRPC server that keeps the spans it is sent."""

from typing import Any

from grpc import aio
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2


class OtlpReceiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps spans with the name of their service.

    Attributes:
        endpoint: http://host:port, once started.
        spans: (service name, span) in the order of arrival.
    """

    def __init__(self) -> None:
        self.endpoint = ""
        self.spans: list[tuple[str, trace_pb2.Span]] = []
        self._server = aio.server()

    async def start(self) -> None:
        """Serves."""
        register: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
        register(self, self._server)
        self.endpoint = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()

    async def stop(self) -> None:
        """Ends."""
        await self._server.stop(None)

    async def Export(  # noqa: N802 - the method's name in the contract
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: Any
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        """Takes spans."""
        for resource in request.resource_spans:
            names = [one.value.string_value for one in resource.resource.attributes if one.key == "service.name"]
            for scope in resource.scope_spans:
                self.spans.extend((names[0], span) for span in scope.spans)
        return trace_service_pb2.ExportTraceServiceResponse()

    def of(self, trace_id: bytes) -> dict[str, list[trace_pb2.Span]]:
        """The spans of a trace by service."""
        found: dict[str, list[trace_pb2.Span]] = {}
        for service, span in self.spans:
            if span.trace_id == trace_id:
                found.setdefault(service, []).append(span)
        return found
