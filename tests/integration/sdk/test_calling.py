"""When a client tries a call again: a Router that is restarted must cost its callers neither answers nor labels."""

import asyncio
import math
import socket
from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
import pytest

from crossfade.client import AsyncClient, Client, ClientClosedError, NothingAnswersError, PredictError
from crossfade.predict.v1 import predict_pb2
from services.common.ports import free_port
from tests.integration.sdk.answering import House

ROWS = np.zeros((1, 2), dtype=np.float32)
LABELS = [predict_pb2.Observation(prediction_id="p", label="yes")]


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    yield made
    await made.stop()


async def test_answers_and_labels_wait_for_a_router_that_is_started_again(house: House) -> None:
    async with AsyncClient(house.address, timeout=20.0) as client:
        with Client(house.address, timeout=20.0) as blocking:
            waiting = asyncio.gather(
                client.predict("churn", ROWS),
                client.report(LABELS),
                asyncio.to_thread(blocking.predict, "churn", ROWS),
                asyncio.to_thread(blocking.report, LABELS),
            )
            await asyncio.sleep(0.5)  # Long enough for the first attempts, which find nobody.
            await house.start()
            answer, summary, same, told = await waiting
    assert answer.version == same.version == "v1"
    assert summary.accepted == told.accepted == 1


@pytest.mark.parametrize("timeout", [math.inf, 1e12])
async def test_a_call_may_have_any_time(house: House, timeout: float) -> None:
    await house.start()
    async with AsyncClient(house.address, timeout=timeout) as client:
        assert (await client.predict("churn", ROWS)).version == "v1"
        with Client(house.address) as blocking:
            assert (await asyncio.to_thread(blocking.predict, "churn", ROWS, timeout=timeout)).version == "v1"


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
async def test_what_an_ending_router_has_not_begun_is_asked_once_more(house: House, code: grpc.StatusCode) -> None:
    await house.start()
    async with AsyncClient(house.address) as client:
        house.service.codes = [code]
        assert (await client.predict("churn", ROWS)).version == "v1"
        house.service.codes = [code]
        assert (await client.report(LABELS)).accepted == 1
        assert house.service.calls == 4
        house.service.codes = [code, code]
        with pytest.raises(NothingAnswersError):
            await client.report(LABELS)
    assert house.service.calls == 6


async def test_what_a_router_refuses_is_not_asked_again(house: House) -> None:
    await house.start()
    house.service.codes = [grpc.StatusCode.INTERNAL]
    async with AsyncClient(house.address) as client:
        with pytest.raises(PredictError):
            await client.report(LABELS)
    assert house.service.calls == 1


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    "address", ["localhost", "http://localhost:8500", "localhost:http", "localhost:0", "", "[::1]", "[localhost]:8500"]
)
def test_what_is_no_address_is_refused_at_once(kind: Any, address: str) -> None:
    with pytest.raises(ValueError, match="is not an address: write HOST:PORT, as in localhost:8500"):
        kind(address)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("address", ["::1", "::1:8500", "2001:db8::1:8500"])
def test_an_address_of_ipv6_wants_brackets(kind: Any, address: str) -> None:
    with pytest.raises(ValueError, match=r"and an address of IPv6 in brackets, as in \[::1\]:8500"):
        kind(address)


@pytest.mark.parametrize(
    "address",
    ["localhost:8500", "[::1]:8500", "dns:///router:8500", "ipv4:10.0.0.1:8500", "unix:1.sock", "xds:///churn"],
)
def test_what_grpc_knows_is_an_address(address: str) -> None:
    Client(address).close()


async def test_another_service_is_no_router() -> None:
    server = grpc.aio.server()
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    async with AsyncClient(address) as client:
        with pytest.raises(PredictError, match=f"what answers at {address} is no Router of Crossfade"):
            await client.predict("churn", ROWS)
    await server.stop(0)


async def test_a_closed_client_says_so(house: House) -> None:
    await house.start()
    blocking, client = Client(house.address), AsyncClient(house.address)
    blocking.close()
    await client.close()
    with pytest.raises(ClientClosedError):
        blocking.predict("churn", ROWS)
    with pytest.raises(ClientClosedError):
        next(blocking.predict_stream("churn", ROWS))
    with pytest.raises(ClientClosedError):
        blocking.report(LABELS)
    with pytest.raises(ClientClosedError):
        await client.predict("churn", ROWS)
    with pytest.raises(ClientClosedError):
        await anext(client.predict_stream("churn", ROWS))
    with pytest.raises(ClientClosedError):
        await client.report(LABELS)


async def test_a_call_under_which_its_client_is_closed_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        blocking, client = Client(address), AsyncClient(address)
        under_way = [
            asyncio.create_task(asyncio.to_thread(blocking.predict, "churn", ROWS)),
            asyncio.create_task(client.predict("churn", ROWS)),
            asyncio.ensure_future(anext(client.predict_stream("churn", ROWS))),
        ]
        # Both have connected, so their calls are under way.
        connections = [await asyncio.to_thread(silent.accept) for _ in (blocking, client)]
        blocking.close()
        await client.close()
        for call in under_way:
            with pytest.raises(ClientClosedError):
                await call
        for connection, _ in connections:
            connection.close()


async def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    await house.start()
    async with AsyncClient(house.address) as client:
        assert (await client.predict("churn", ROWS)).version == "v1"
    with Client(house.address) as blocking:
        assert (await asyncio.to_thread(blocking.predict, "churn", ROWS)).version == "v1"


async def test_a_proxy_that_is_in_the_way_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    async with AsyncClient("router.invalid:8500", timeout=1.0) as client:
        with pytest.raises(
            NothingAnswersError, match=r"the proxy that http_proxy names: add router.invalid to no_prox"
        ):
            await client.predict("churn", ROWS)
