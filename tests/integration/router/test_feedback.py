"""Labels at Routers: counted once wherever they are sent, and met with their pairs."""

import asyncio
import socket
import time
from pathlib import Path
from typing import Any

from grpc import aio

from crossfade.client import AsyncClient, Client
from crossfade.predict.v1 import predict_pb2
from crossfade.registry.v1 import resources_pb2
from crossfade.telemetry.v1 import telemetry_pb2, telemetry_pb2_grpc
from router.app import App
from router.settings import RouterSettings
from services.common.ports import free_port
from services.common.prediction_token import Prediction, TokenKeys
from services.common.telemetry import catalog, otlp
from tests.integration.router.house import KEY, House
from tests.support.wait import until


async def test_labels_wait_for_a_router_that_is_started_again(house: House, tmp_path: Path) -> None:
    port = free_port()
    settings = RouterSettings(
        listen=f"127.0.0.1:{port}",
        registry=house.registry.address,
        token_keys=tmp_path / "keys",
        log_level="error",
        drain_seconds=0.2,
    )
    observation = predict_pb2.Observation(prediction_id="forged", row=0, label="churn")
    with Client(f"127.0.0.1:{port}", timeout=20.0) as blocking:
        async with AsyncClient(f"127.0.0.1:{port}", timeout=20.0) as client:
            reports = [
                asyncio.create_task(client.report([observation])),
                asyncio.create_task(asyncio.to_thread(blocking.report, [observation])),
            ]
            await asyncio.wait(reports, timeout=0.5)
            assert not any(report.done() for report in reports)
            router = App(settings)
            await router.start()
            try:
                for summary in await asyncio.gather(*reports):
                    assert len(summary.refused) == 1
            finally:
                await router.stop()


async def test_labels_of_a_router_that_hangs_are_counted_here_within_their_callers_time(house: House) -> None:
    await house.routes()
    keys, now = TokenKeys({1: bytes.fromhex(KEY)}, 1), int(time.time() * 1000)
    tokens = [keys.sign(Prediction(n, now, 1, 5, 1, "churn", "v1", "", (1,))) for n in range(20)]
    with socket.socket() as hole:
        # It takes connections, and says nothing.
        hole.bind(("127.0.0.1", 0))
        hole.listen()
        other = resources_pb2.Instance(
            instance_id="other",
            kind=resources_pb2.INSTANCE_KIND_ROUTER,
            address=f"127.0.0.1:{hole.getsockname()[1]}",
        )
        house.registry.instances["other"] = other
        await house.app.peers.use({"other": other.address})
        theirs = next(token for token in tokens if house.app.peers.address_of(token))
        async with AsyncClient(house.app.address, timeout=1.0) as client:
            summary = await client.report([predict_pb2.Observation(prediction_id=theirs, row=0, label="churn")])
    assert summary.accepted == 1


async def test_feedback_counts_once_and_refuses_forgeries(house: House) -> None:
    await house.routes()
    prediction = Prediction(7, 1_700_000_000_000, 1, 5, 1, "churn", "v1", "", (1, 0))
    token = TokenKeys({1: bytes.fromhex(KEY)}, 1).sign(prediction)
    foreign = TokenKeys({1: b"x" * 16}, 1).sign(prediction)
    observations = [
        predict_pb2.Observation(prediction_id=token, row=0, label="churn"),
        predict_pb2.Observation(prediction_id=token, row=0, label="churn"),
        predict_pb2.Observation(prediction_id=foreign, row=1, label="churn"),
        predict_pb2.Observation(prediction_id=token, row=1),
    ]
    summary = await house.client.report(observations)
    assert (summary.accepted, summary.duplicates, len(summary.refused)) == (1, 1, 2)
    assert "forged" in summary.refused[0]


async def test_a_label_of_an_epoch_that_never_was_is_not_counted(house: House) -> None:
    await house.routes(epoch=20)
    keys, now = TokenKeys({1: bytes.fromhex(KEY)}, 1), int(time.time() * 1000)
    before = [Prediction(nonce, now, 20, nonce, 1, "churn", "v1", "", (1,)) for nonce in (1, 2)]
    after = Prediction(3, now + 60_000, 12, 3, 1, "churn", "v1", "", (1,))

    async def accepted(prediction: Prediction) -> int:
        observation = predict_pb2.Observation(prediction_id=keys.sign(prediction), row=0, label="churn")
        return (await house.client.report([observation])).accepted

    assert await accepted(before[0]) == 1
    # The Registry's database was put back.
    await house.routes(epoch=12)
    assert await accepted(before[1]) == 0
    assert await accepted(after) == 1


async def test_two_routers_count_a_label_once(house: House, tmp_path: Path) -> None:
    await house.routes()
    settings = RouterSettings(
        listen="127.0.0.1:0",
        registry=house.registry.address,
        token_keys=tmp_path / "keys",
        log_level="error",
        drain_seconds=0.2,
    )
    other = App(settings)
    await other.start()
    try:
        ids = {house.app.instance_id, other.instance_id}
        await until(lambda: ids <= house.registry.instances.keys())
        await until(lambda: house.app.peers.known and other.peers.known, seconds=20)
        keys = TokenKeys({1: bytes.fromhex(KEY)}, 1)
        tokens = [keys.sign(Prediction(n, 1_700_000_000_000, 1, 5, 1, "churn", "v1", "", (1,))) for n in range(40)]
        observations = [predict_pb2.Observation(prediction_id=token, row=0, label="churn") for token in tokens]
        async with AsyncClient(other.address) as second:
            first_time = await house.client.report(observations)
            again = await second.report(observations)
        assert (first_time.accepted, again.accepted, again.duplicates) == (40, 0, 40)
    finally:
        await other.stop()


async def labelled_pairs(address: str) -> int:
    """Labels that met a pair, as GetMetrics tells them."""
    async with aio.insecure_channel(address) as channel:
        stub: Any = telemetry_pb2_grpc.TelemetryServiceStub(channel)
        request = telemetry_pb2.GetMetricsRequest(names=[catalog.SHADOW_LABEL_COUNT.name], model="churn")
        answer = await stub.GetMetrics(request)
    return sum(sum(one.counts) for one in otlp.decode(answer.metrics_data).snapshots)


async def test_a_pair_is_noted_at_the_router_that_keeps_the_labels(house: House, tmp_path: Path) -> None:
    await house.routes()
    settings = RouterSettings(
        listen="127.0.0.1:0", registry=house.registry.address, token_keys=tmp_path / "keys", log_level="error"
    )
    other = App(settings)
    await other.start()
    try:
        await until(lambda: bool(other.proxy.table.lanes and house.app.peers.known), seconds=20)
        keys = TokenKeys({1: bytes.fromhex(KEY)}, 1)
        stable = [keys.sign(Prediction(n, 1_700_000_000_000, 1, 5, 2, "churn", "v1", "", (1,))) for n in range(40)]
        test = keys.sign(Prediction(99, 1_700_000_000_000, 1, 5, 3, "churn", "v2", "", (0,)))
        for token in stable:
            house.app.notes.note(token, test)
        await until(lambda: house.app.book.awaited + other.book.awaited == 40)
        await house.client.report(
            [predict_pb2.Observation(prediction_id=token, row=0, label="churn") for token in stable]
        )
        here, there = await labelled_pairs(house.app.address), await labelled_pairs(other.address)
        assert here + there == 40
        assert here > 0 < there
    finally:
        await other.stop()
