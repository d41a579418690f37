"""One trace from client through Router to Worker, and a rollback as a span, at a real OTLP receiver."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1 import trace_pb2
from opentelemetry.sdk.trace import TracerProvider

from crossfade.artifact import Artifact
from crossfade.registry.v1 import resources_pb2
from services.local.stack import Ports, Stack, StackOptions
from tests.e2e.conftest import MODEL, House, Load, rows
from tests.fakes.otlp_receiver import OtlpReceiver
from tests.support.wait import until


@pytest.mark.timeout(240)
async def test_traces(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    receiver = OtlpReceiver()
    await receiver.start()
    ports = Ports.free()
    environment = {"CROSSFADE_OTLP_ENDPOINT": receiver.endpoint, "CROSSFADE_TRACE_RATIO": "0"}
    options = StackOptions(tmp_path / "data", ports, environment, restart=False)
    async with Stack(options) as stack:
        house = House(stack, ports, artifacts)
        await house.create()
        await house.publish("v1")
        await house.until_serves("v1")

        tracer = TracerProvider().get_tracer("caller")
        with tracer.start_as_current_span("checkout") as span:
            await house.client.predict(MODEL, rows(1))
        context = span.get_span_context()
        trace_id = context.trace_id.to_bytes(16, "big")
        await until(lambda: {"crossfade-router", "crossfade-worker"} <= receiver.of(trace_id).keys(), 30)
        spans = receiver.of(trace_id)
        (router,) = spans["crossfade-router"]
        assert router.parent_span_id == context.span_id.to_bytes(8, "big")
        assert router.span_id in {one.parent_span_id for one in spans["crossfade-worker"]}

        bad = await house.publish("v3")
        load = Load(house.client, rate=80)
        await house.until_state(bad.rollout.name, resources_pb2.ROLLOUT_STATE_ROLLED_BACK)
        await load.stop()
        await until(lambda: rollbacks(receiver), 30)
        attributes = {one.key: one.value.string_value for one in rollbacks(receiver)[0].attributes}
        assert "v3" in attributes.values()
        assert any("errors" in value for value in attributes.values())
        # On the outcome stand traces of v3's failures, for whoever asks why.
        ended = await house.until_state(bad.rollout.name, resources_pb2.ROLLOUT_STATE_ROLLED_BACK)
        assert 1 <= len(ended.outcome.trace_ids) <= 5
        for named in ended.outcome.trace_ids:
            named_id = bytes.fromhex(named)
            # Spans leave the Router in batches, and the outcome may be there first.
            await until(lambda known=named_id: "crossfade-router" in receiver.of(known), 30)  # type: ignore[misc]
            seen = receiver.of(named_id)["crossfade-router"]
            assert {"crossfade.arm", "crossfade.answered_by"} <= {one.key for span in seen for one in span.attributes}
        # Nothing else is sampled at a ratio of 0 but what the test version answered, and failures.
        kept = [one for service, one in receiver.spans if service == "crossfade-router" and one.trace_id != trace_id]
        assert kept
        for one in kept:
            arm = next(pair.value.string_value for pair in one.attributes if pair.key == "crossfade.arm")
            assert arm == "test" or one.status.code == trace_pb2.Status.STATUS_CODE_ERROR, one
        await house.close()
    await receiver.stop()


def rollbacks(receiver: OtlpReceiver) -> list[trace_pb2.Span]:
    """The Evaluator's spans of rollbacks."""
    found = [span for service, span in receiver.spans if service == "crossfade-evaluator"]
    return [span for span in found if "rollback" in span.name.lower()]
