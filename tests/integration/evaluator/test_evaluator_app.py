"""The Evaluator's own server: policies are checked and metrics handed out while the Registry is away."""

import asyncio
import os
import signal
import socket
import sys
import urllib.request
from collections.abc import AsyncIterator

import pytest
import structlog
from google.protobuf.duration_pb2 import Duration
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import LogCapture

from crossfade.common.v1 import policy_pb2
from crossfade.evaluator.v1 import evaluator_pb2, evaluator_pb2_grpc
from crossfade.telemetry.v1 import telemetry_pb2, telemetry_pb2_grpc
from evaluator.app import App
from evaluator.settings import EvaluatorSettings
from services.common.contact import REGISTRY_HEALTH
from services.common.ports import free_port
from services.common.telemetry import operations
from services.common.telemetry.otlp import decode
from tests.integration.evaluator.conftest import MakeScene
from tests.integration.evaluator.scene import quick_terms
from tests.support.health import serves
from tests.support.wait import until, until_async
from tests.support.worker import metrics


@pytest.fixture
async def app() -> AsyncIterator[App]:
    """An Evaluator whose Registry is away."""
    settings = EvaluatorSettings(
        listen="127.0.0.1:0",
        registry="127.0.0.1:1",
        metrics_listen=f"127.0.0.1:{free_port()}",
        log_level="critical",
        drain_seconds=0.1,
        poll_seconds=0.1,
    )
    made = App(settings)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def channel(app: App) -> AsyncIterator[aio.Channel]:
    """A channel to it."""
    async with aio.insecure_channel(app.address) as opened:
        yield opened


async def test_a_policy_comes_back_with_its_defaults(channel: aio.Channel) -> None:
    stub = evaluator_pb2_grpc.EvaluatorServiceStub(channel)
    answer = await stub.CheckPolicy(evaluator_pb2.CheckPolicyRequest(task="classification"))
    assert not answer.violations
    assert [gate.name for gate in answer.policy.gates] == ["errors", "runtime", "accuracy", "input_drift"]
    assert answer.policy.look_interval.seconds == 30
    assert [(step.share_bps, step.period.seconds) for step in answer.plan.steps] == [(500, 3600)]


async def test_what_is_wrong_with_a_policy_is_named_with_its_path(channel: aio.Channel) -> None:
    stub = evaluator_pb2_grpc.EvaluatorServiceStub(channel)
    request = evaluator_pb2.CheckPolicyRequest(
        policy=policy_pb2.Policy(power=2.0, gates=[policy_pb2.Gate(metric=policy_pb2.METRIC_ERRORS)]),
        plan=policy_pb2.TrafficPlan(steps=[policy_pb2.Step(share_bps=20_000)]),
    )
    answer = await stub.CheckPolicy(request)
    fields = [violation.field for violation in answer.violations]
    assert fields == ["policy.gates", "policy.power", "plan.steps[0].share_bps"]
    assert not answer.policy.gates
    assert "1 to 9999 basis points" in answer.violations[2].description
    # What is possible by itself may contradict what else was asked for.
    brief = policy_pb2.TrafficPlan(steps=[policy_pb2.Step(share_bps=500, period=Duration(seconds=10))])
    (violation,) = (await stub.CheckPolicy(evaluator_pb2.CheckPolicyRequest(plan=brief, task="other"))).violations
    assert violation.field == "plan.steps[0].period"
    assert "the step's period is 10s and settling 30s" in violation.description


async def test_it_serves_and_hands_out_its_metrics_while_the_registry_is_away(app: App, channel: aio.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    answer = await health.Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert not await serves(app.address, REGISTRY_HEALTH)
    telemetry = telemetry_pb2_grpc.TelemetryServiceStub(channel)
    pull = decode((await telemetry.GetMetrics(telemetry_pb2.GetMetricsRequest())).metrics_data)
    assert (pull.service, pull.instance_id) == ("crossfade-evaluator", app.instance_id)
    url = f"http://{app._settings.metrics_listen}/metrics"
    page = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=5).read().decode())
    assert f'crossfade_registry_contact_age_seconds{{service_instance_id="{app.instance_id}"}}' in page
    assert f'crossfade_rollouts_watched{{service_instance_id="{app.instance_id}"}} 0.0' in page


async def test_it_says_when_it_hears_the_registry(scene: MakeScene) -> None:
    made = await scene(quick_terms())
    evaluator = await made.evaluate()
    await until_async(lambda: serves(evaluator.address, REGISTRY_HEALTH))
    (age,) = [one.total for one in await metrics(evaluator.address) if one.metric is operations.CONTACT_AGE]
    assert 0.0 <= age < 5.0


async def run(**environment: str) -> "asyncio.subprocess.Process":
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "evaluator",
        env={**os.environ, **{f"CROSSFADE_{key}": value for key, value in environment.items()}},
        stderr=asyncio.subprocess.PIPE,
    )


async def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = await run(LISTEN=f"127.0.0.1:{port}")
        _, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1
    assert errors.decode().strip() == (
        f"evaluator: error: port {port} on 127.0.0.1 is in use by another process: end it or choose another port"
    )


async def test_it_ends_in_order_at_sigterm() -> None:
    process = await run(LISTEN="127.0.0.1:0", REGISTRY="127.0.0.1:1", DRAIN_SECONDS="0")
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while b'"serving"' not in await process.stderr.readline():
            assert process.returncode is None
        await asyncio.sleep(0)
        process.send_signal(signal.SIGTERM)
        await process.communicate()
    assert process.returncode == 0


async def test_a_loop_that_has_ended_by_a_defect_begins_again() -> None:
    """A channel that is closed cancels the calls under way, and with them whoever waits for one."""
    connected = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await reader.read()
        writer.close()

    lines = LogCapture()
    async with await asyncio.start_server(silent, "127.0.0.1", 0) as registry:
        port = registry.sockets[0].getsockname()[1]
        settings = EvaluatorSettings(listen="127.0.0.1:0", registry=f"127.0.0.1:{port}", drain_seconds=0.1)
        app = App(settings, log=structlog.wrap_logger(structlog.PrintLogger(), processors=[lines]))
        await app.start()
        await connected.wait()
        await app._channel.close()
        loops = ("a loop failed and begins again", "the live rollouts cannot be read", "the lanes cannot be read")
        await until(lambda: {line["event"] for line in lines.entries} >= {*loops}, 10)
        await app.stop()
