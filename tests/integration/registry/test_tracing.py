"""A promotion is a span with its evidence, at a real OTLP receiver."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from grpc import aio
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from crossfade.common.v1 import analysis_pb2
from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.integration.registry.harness import Start, new_id
from tests.support.wait import until


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps the spans that it is sent."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.address = ""

    def named(self, name: str) -> list[Span]:
        """Its spans of that name."""
        return [span for span in self.spans if span.name == name]

    async def Export(  # noqa: N802 - the method's name in OTLP
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: Any
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    server = aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(made, server)  # type: ignore[no-untyped-call]  # no stubs
    made.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield made
    await server.stop(None)


async def test_every_transition_is_a_span(receiver: Receiver, start: Start) -> None:
    registry = await start(otlp_endpoint=f"http://{receiver.address}")
    rollout = await registry.running()

    def at(one: resources_pb2.Rollout) -> dict[str, Any]:
        return {"name": one.name, "etag": one.etag, "request_id": new_id()}

    stub = registry.stub
    rollout = await stub.PauseRollout(service_pb2.PauseRolloutRequest(**at(rollout), reason="lunch"))
    rollout = await stub.ResumeRollout(service_pb2.ResumeRolloutRequest(**at(rollout)))
    rollout = await stub.AdvanceRollout(service_pb2.AdvanceRolloutRequest(**at(rollout), force=True, reason="good"))
    rollout = await registry.promote(rollout, force=True)
    lane = (await registry.model()).lanes[0]
    await stub.UndoLane(
        service_pb2.UndoLaneRequest(model="models/m", etag=lane.etag, force=True, reason="bad", request_id=new_id())
    )
    wanted = ["publish", "publish", "pause", "resume", "advance", "promote", "undo"]
    await until(lambda: len(receiver.spans) >= len(wanted))
    found = sorted(receiver.spans, key=lambda span: span.start_time_unix_nano)
    assert [span.name for span in found] == [f"registry.{name}" for name in wanted]
    values = [{one.key: one.value.string_value for one in span.attributes} for span in found]
    assert all(one["crossfade.model"] == "m" for one in values)
    assert [one.get("crossfade.version", "") for one in values] == ["v1", "v2", "v2", "v2", "v2", "v2", ""]
    assert [one.get("crossfade.state", "") for one in values[2:6]] == ["PAUSED", "RUNNING", "RUNNING", "PROMOTED"]
    assert [values[place]["crossfade.reason"] for place in (2, 4, 6)] == ["lunch", "good", "bad"]


async def test_a_rollback_is_a_span_with_its_evidence(receiver: Receiver, start: Start) -> None:
    registry = await start(otlp_endpoint=f"http://{receiver.address}")
    rollout = await registry.running()
    gate = analysis_pb2.GateReport(
        gate="errors",
        verdict=analysis_pb2.VERDICT_FAIL,
        test=analysis_pb2.ArmCounts(n=100, x=9),
        baseline=analysis_pb2.ArmCounts(n=1900, x=2),
        difference=0.089,
    )
    # An Evaluator of a newer release may say what this one has no name for.
    newer = analysis_pb2.GateReport(gate="newer", verdict=99)  # type: ignore[arg-type]
    summary = analysis_pb2.Summary(verdict=analysis_pb2.VERDICT_FAIL, gates=[gate, newer])
    outcome = resources_pb2.Outcome(reason="Errors.", code="VIOLATION", gate="errors", summary=summary)
    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    request = service_pb2.RollbackRolloutRequest(
        name=rollout.name, etag=rollout.etag, request_id=new_id(), outcome=outcome
    )
    await registry.stub.RollbackRollout(request, metadata=(("traceparent", traceparent),))
    await until(lambda: receiver.named("registry.rollback"))
    (span,) = receiver.named("registry.rollback")
    assert span.trace_id.hex() == "4bf92f3577b34da6a3ce929d0e0e4736"
    values = {one.key: one.value for one in span.attributes}
    assert values["crossfade.model"].string_value == "m"
    assert values["crossfade.version"].string_value == "v2"
    assert values["crossfade.code"].string_value == "VIOLATION"
    assert values["crossfade.gate.errors.verdict"].string_value == "FAIL"
    assert values["crossfade.gate.newer.verdict"].string_value == "99"
    arm = {key: values[f"crossfade.gate.errors.test.{key}"].int_value for key in ("n", "x")}
    assert arm == {"n": 100, "x": 9}
    assert values["crossfade.gate.errors.difference"].double_value == 0.089
