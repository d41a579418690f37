"""The life of a version's process: bad artifacts, crashes, orphans, precision, traces."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
from grpc import aio
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from crossfade.manifest import DType, TensorSpec
from services.common.contact import REGISTRY_HEALTH
from services.common.telemetry import catalog, operations
from services.worker.app import VERSIONS_HEALTH
from tests.fakes.models import expected_scores, golden_file, package_scores, reference_rows, rewrite, scores_of
from tests.fakes.registry import FakeRegistry, lane, wanted
from tests.support.health import serves
from tests.support.wait import until, until_async
from tests.support.worker import counted, metrics


def pid_of(app: Any, version: str = "v1") -> int:
    """The process that serves a version; 0: none does."""
    found: int = next((pid for key, pid in app.supervisor.pids().items() if key.version == version), 0)
    return found


async def kill(app: Any) -> None:
    """Kills the process of v1 and waits until another one runs."""
    pid = pid_of(app)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: pid_of(app) not in (0, pid), 60)


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("program.pt2", lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:], "program.pt2 was altered"),
        ("golden.npz", lambda data: data + b"x", "golden.npz is longer"),
        ("model.json", lambda data: data.replace(b"scores", b"scorez"), "model.json is not the published one"),
    ],
)
async def test_an_artifact_that_was_changed(
    registry: FakeRegistry, start_worker: Any, artifacts: Any, tmp_path: Path, file: str, change: Any, words: str
) -> None:
    copied = rewrite(artifacts(), tmp_path / "copy", {})
    path = copied.artifact.path / file
    data = path.read_bytes()
    path.write_bytes(change(data) if change(data) != data else data + b" ")
    await registry.set_lanes(lane("scores", wanted("v1", copied.uri, copied.artifact.digest, copied.artifact.manifest)))
    await start_worker()
    await until(lambda: registry.state("scores", "v1") == "FAILED", 60)
    serving = registry.serving("scores", "v1")
    assert serving is not None
    assert (serving.error_code, serving.address) == ("LOAD_FAILED", "")
    assert words in serving.error


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        (lambda right: right * 1.5 + 1.0, "times the tolerance"),
        (lambda right: right * np.float32("nan"), "golden outputs hold NaN"),
    ],
)
async def test_golden_answers_that_do_not_agree(
    registry: FakeRegistry, start_worker: Any, artifacts: Any, want: Any, tmp_path: Path, scores: Any, words: str
) -> None:
    rows = reference_rows()[: artifacts().artifact.manifest.golden.rows]
    changed = rewrite(artifacts(), tmp_path / "x", {"golden.npz": golden_file(rows, scores(expected_scores(rows)))})
    await registry.set_lanes(lane("scores", want(changed)))
    await start_worker()
    await until(lambda: registry.state("scores", "v1") == "FAILED", 60)
    serving = registry.serving("scores", "v1")
    assert serving is not None
    assert serving.error_code == "VERIFY_FAILED"
    assert words in serving.error


async def test_a_model_that_answers_nan_to_golden_rows(
    registry: FakeRegistry, start_worker: Any, artifacts: Any, want: Any, tmp_path: Path
) -> None:
    rows = reference_rows()[: artifacts(nan_above=50.0).artifact.manifest.golden.rows].copy()
    rows[0, 0] = 60.0
    files = {"golden.npz": golden_file(rows, expected_scores(rows))}
    changed = rewrite(artifacts(nan_above=50.0), tmp_path / "x", files)
    await registry.set_lanes(lane("scores", want(changed)))
    await start_worker()
    await until(lambda: registry.state("scores", "v1") == "FAILED", 60)
    serving = registry.serving("scores", "v1")
    assert serving is not None
    assert (serving.error_code, "hold NaN" in serving.error) == ("VERIFY_FAILED", True)


async def test_a_program_that_is_none(
    registry: FakeRegistry, start_worker: Any, artifacts: Any, want: Any, tmp_path: Path
) -> None:
    changed = rewrite(artifacts(), tmp_path / "x", {"program.pt2": b"cos\nsystem\n(S'id'\ntR."})
    other = want(artifacts(scale=3.0), "v2")
    await registry.set_lanes(lane("scores", want(changed), other))
    await start_worker()
    await until(lambda: registry.state("scores", "v1") == "FAILED", 60)
    serving = registry.serving("scores", "v1")
    assert serving is not None
    assert "no archive of torch.export.save" in serving.error
    await until(lambda: registry.state("scores", "v2") == "READY", 60)


@pytest.mark.parametrize("shape", [(-1, 10**15), (-1, 4, *[1] * 100)])
async def test_a_signature_whose_rows_cannot_be_laid_out(
    registry: FakeRegistry, start_worker: Any, artifacts: Any, want: Any, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    packaged = artifacts()
    manifest = packaged.artifact.manifest
    wide = replace(manifest.signature, inputs=(TensorSpec("input", DType.FP32, shape),))
    artifact = replace(packaged.artifact, manifest=replace(manifest, signature=wide))
    changed = rewrite(replace(packaged, artifact=artifact), tmp_path / "x", {})
    await registry.set_lanes(lane("scores", want(changed)))
    await start_worker()
    await until(lambda: registry.state("scores", "v1") == "FAILED", 60)
    serving = registry.serving("scores", "v1")
    assert serving is not None
    assert (serving.error_code, "cannot be laid out" in serving.error) == ("LOAD_FAILED", True)


async def test_what_is_said_of_an_artifact_is_no_longer_than_a_report_can_carry(
    registry: FakeRegistry, start_worker: Any, artifacts: Any, want: Any, tmp_path: Path
) -> None:
    packaged = artifacts()
    manifest = packaged.artifact.manifest
    many = tuple(TensorSpec(f"output_{number}", DType.FP32, (-1, 3)) for number in range(2_000))
    signature = replace(manifest.signature, outputs=(*manifest.signature.outputs, *many))
    artifact = replace(packaged.artifact, manifest=replace(manifest, signature=signature))
    changed = rewrite(replace(packaged, artifact=artifact), tmp_path / "x", {})
    version = want(changed)
    version.signature.outputs[0].name = "other"
    await registry.set_lanes(lane("scores", version))
    await start_worker()
    await until(lambda: registry.state("scores", "v1") == "FAILED", 60)
    serving = registry.serving("scores", "v1")
    assert serving is not None
    assert "outputs are not those that were published" in serving.error
    assert len(serving.error) < 3_000


async def test_another_signature_than_published(
    registry: FakeRegistry, start_worker: Any, artifacts: Any, want: Any
) -> None:
    version = want(artifacts())
    version.signature.classes[0] = "other"
    await registry.set_lanes(lane("scores", version))
    await start_worker()
    await until(lambda: registry.state("scores", "v1") == "FAILED", 60)
    serving = registry.serving("scores", "v1")
    assert serving is not None
    assert "classes are not those that were published" in serving.error


async def test_a_crash_is_restarted_at_the_same_address_and_a_second_one_fails(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts(scale=3.0), "v0"), want(artifacts())))
    app = await start_worker()
    caller = await caller_of("v1")
    for _ in range(5):
        await caller.predict(reference_rows(1))
    await until_async(lambda: has_counted(app, 5))
    first = registry.serving("scores", "v1")
    await kill(app)
    await until(lambda: registry.state("scores", "v1") == "READY", 60)
    again = registry.serving("scores", "v1")
    assert first is not None
    assert again is not None
    assert again.address == first.address

    async def answers() -> bool:
        with contextlib.suppress(aio.AioRpcError):
            return bool(await caller.predict(reference_rows(1)))
        return False

    await until_async(answers)
    await until_async(lambda: has_counted(app, 6))
    os.kill(pid_of(app), signal.SIGKILL)
    await until(lambda: registry.state("scores", "v1") == "FAILED")
    failed = registry.serving("scores", "v1")
    assert failed is not None
    assert (failed.error_code, failed.address) == ("CRASHED", "")
    assert "crashed 2 times" in failed.error
    # What the dead have counted is kept.
    assert await has_counted(app, 6)
    assert pid_of(app) == 0


async def test_the_stable_version_comes_back_however_often_it_is_killed(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts())))
    app = await start_worker()
    caller = await caller_of("v1")
    for killed in (1, 2, 3):
        await kill(app)
        await until(lambda: registry.state("scores", "v1") == "READY", 60)
        serving = registry.serving("scores", "v1")
        assert serving is not None
        # So that a test version that crashes beside it is not blamed.
        assert serving.error_code == ("" if killed == 1 else "CRASHED")
    await caller.predict(reference_rows(1))


async def test_a_source_that_cannot_be_reached_is_no_failure_and_keeps_nobody_waiting(
    registry: FakeRegistry, start_worker: Any, artifacts: Any, want: Any, tmp_path: Path
) -> None:
    missing = wanted("v1", (tmp_path / "later").as_uri(), artifacts().artifact.digest, artifacts().artifact.manifest)
    await registry.set_lanes(lane("scores", missing, want(artifacts(scale=3.0), "v2")))
    await start_worker()
    await until(lambda: registry.state("scores", "v2") == "READY", 60)
    serving = registry.serving("scores", "v1")
    assert serving is not None
    assert (registry.state("scores", "v1"), serving.error_code) == ("LOADING", "")
    assert serving.error.endswith("model.json does not exist")


async def has_counted(app: Any, calls: int) -> bool:
    """Whether GetMetrics has so many answered calls."""
    return counted(await metrics(app.address), catalog.WORKER_DURATION, outcome="ok") >= calls


async def test_no_process_outlives_its_supervisor(
    registry: FakeRegistry, artifacts: Any, want: Any, tmp_path: Path
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts())))
    environment = {
        **os.environ,
        "CROSSFADE_LISTEN": "127.0.0.1:0",
        "CROSSFADE_REGISTRY": registry.address,
        "CROSSFADE_ARTIFACT_CACHE": str(tmp_path / "cache"),
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.worker", env=environment)
    try:
        await until(lambda: registry.state("scores", "v1") == "READY", 40)
        family = psutil.Process(process.pid).children(recursive=True)
        assert any(one.is_running() for one in family)
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    await until(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in family), 15)


async def test_ends_in_order_when_it_is_told(registry: FakeRegistry, artifacts: Any, want: Any, tmp_path: Path) -> None:
    await registry.set_lanes(lane("scores", want(artifacts())))
    environment = {
        **os.environ,
        "CROSSFADE_LISTEN": "127.0.0.1:0",
        "CROSSFADE_REGISTRY": registry.address,
        "CROSSFADE_ARTIFACT_CACHE": str(tmp_path / "cache"),
        "CROSSFADE_QUIET_SECONDS": "0.1",
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.worker", env=environment)
    await until(lambda: registry.state("scores", "v1") == "READY", 40)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 15) == 0
    assert registry.left == list(registry.instances)


async def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        environment = {**os.environ, "CROSSFADE_LISTEN": address, "CROSSFADE_ARTIFACT_CACHE": str(tmp_path)}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.worker", env=environment, stderr=asyncio.subprocess.PIPE
        )
        _, output = await process.communicate()
    assert process.returncode == 1
    assert output.decode().strip().endswith("is in use by another process: end it or choose another port")
    assert "Traceback" not in output.decode()


async def test_a_device_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "CROSSFADE_LISTEN": "127.0.0.1:0",
        "CROSSFADE_ARTIFACT_CACHE": str(tmp_path),
        "CROSSFADE_DEVICE": "cuda:99",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.worker", env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, output = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 1
    assert output.decode().startswith("worker: error: CROSSFADE_DEVICE is cuda:99, and torch finds ")
    assert output.decode().count("\n") == 1


async def test_mixed_precision_where_it_agrees(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts())))
    await start_worker(precision="bf16")
    caller = await caller_of("v1")
    serving = registry.serving("scores", "v1")
    assert serving is not None
    report = serving.load_report
    assert report.precision == "bf16"
    assert 0 < report.mixed_error <= 1
    assert report.mixed_seconds > 0
    rows = reference_rows(3)
    response = await caller.predict(rows)
    np.testing.assert_allclose(scores_of(response), expected_scores(rows), rtol=0.05, atol=0.1)
    assert not np.array_equal(scores_of(response), expected_scores(rows))


async def test_full_precision_where_mixed_does_not_agree(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, tmp_path: Path, want: Any
) -> None:
    from crossfade.artifact import Tolerance

    exact = package_scores(tmp_path / "exact", tolerance=Tolerance(rtol=1e-5, atol=1e-5))
    await registry.set_lanes(lane("scores", want(exact)))
    await start_worker(precision="bf16")
    await caller_of("v1")
    serving = registry.serving("scores", "v1")
    assert serving is not None
    report = serving.load_report
    assert report.precision == "fp32"
    assert report.mixed_error > 1
    assert "differ in bf16" in report.precision_reason


@pytest.mark.parametrize(("of_version", "of_worker", "expected"), [("bf16", "fp32", "bf16"), ("fp32", "bf16", "fp32")])
async def test_a_version_says_what_it_runs_in(
    registry: FakeRegistry,
    start_worker: Any,
    caller_of: Any,
    artifacts: Any,
    want: Any,
    of_version: str,
    of_worker: str,
    expected: str,
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts(precision=of_version))))
    await start_worker(precision=of_worker)
    await caller_of("v1")
    serving = registry.serving("scores", "v1")
    assert serving is not None
    assert serving.load_report.precision == expected


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


async def test_queue_batch_and_inference_are_traced(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    async with trace_receiver() as (endpoint, spans):
        await registry.set_lanes(lane("scores", want(artifacts())))
        await start_worker(otlp_endpoint=endpoint)
        caller = await caller_of("v1")
        trace_id, parent = "ab" * 16, "cd" * 8
        for flags in ("00", "01"):
            traceparent = f"00-{trace_id}-{parent}-{flags}"
            await caller.predict(reference_rows(1), metadata=(("traceparent", traceparent),))
        await caller.predict(reference_rows(1))
        await until(lambda: len(spans) >= 4)
    by_name = {span.name: span for span in spans}
    assert sorted(span.name for span in spans) == ["batch", "inference", "queue", "worker.predict"]
    request, batch = by_name["worker.predict"], by_name["batch"]
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (trace_id, parent)
    assert by_name["queue"].parent_span_id == batch.parent_span_id == request.span_id
    assert by_name["inference"].parent_span_id == batch.span_id
    assert [link.span_id for link in batch.links] == [request.span_id]
    named = {one.key: one.value for one in request.attributes}
    assert (named["crossfade.model"].string_value, named["crossfade.version"].string_value) == ("scores", "v1")
    assert set(named) == {f"crossfade.{key}" for key in ("model", "version", "traffic", "segment", "epoch", "outcome")}
    assert request.start_time_unix_nano <= batch.start_time_unix_nano <= batch.end_time_unix_nano


async def test_a_worker_says_whether_all_is_ready_that_is_wanted_and_whether_it_hears_the_registry(
    registry: FakeRegistry, start_worker: Any, artifacts: Any, want: Any
) -> None:
    app = await start_worker()
    # Nothing is wanted.
    await until_async(lambda: serves(app.address, VERSIONS_HEALTH))
    await until_async(lambda: serves(app.address, REGISTRY_HEALTH))
    broken = want(artifacts(), "v2")
    broken.artifact.uri = "file:///nowhere"
    await registry.set_lanes(lane("scores", want(artifacts())))
    await until(lambda: registry.state("scores", "v1") == "READY", 60)
    await until_async(lambda: serves(app.address, VERSIONS_HEALTH))
    await registry.set_lanes(lane("scores", want(artifacts()), broken))

    async def waits() -> bool:
        return not await serves(app.address, VERSIONS_HEALTH)

    await until_async(waits)
    ready = {one.attributes: one.total for one in await metrics(app.address) if one.metric is operations.VERSION_READY}
    assert ready == {("scores", "v1", "live"): 1.0, ("scores", "v2", "live"): 0.0}


async def test_a_worker_that_does_not_know_what_is_wanted_does_not_say_that_it_is_ready(start_worker: Any) -> None:
    app = await start_worker(registry="127.0.0.1:1")

    async def says() -> bool:
        with contextlib.suppress(aio.AioRpcError):
            return not await serves(app.address, VERSIONS_HEALTH) and not await serves(app.address, REGISTRY_HEALTH)
        return False

    await until_async(says)
