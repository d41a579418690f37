"""A server as every service starts it: its address, health, reflection, many calls, the drain."""

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from grpc import aio
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from crossfade.telemetry.v1 import telemetry_pb2, telemetry_pb2_grpc
from services.common import open_inference
from services.common.ports import free_port
from services.common.server import AddressError, Server, split_address
from services.common.settings import ServiceSettings
from tests.integration.common.house import LOG, House, read
from tests.support.channels import open_channel
from tests.support.wait import until


async def test_health_can_be_watched(local: House) -> None:
    async with aio.insecure_channel(local.server.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        local.server.set_serving(True)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()


async def test_every_watch_of_health_hears_of_the_servers_end_and_none_holds_it_up() -> None:
    house = House(ServiceSettings(listen="127.0.0.1:0", drain_seconds=60))
    await house.server.start()
    async with aio.insecure_channel(house.server.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watches = [stub.Watch(health_pb2.HealthCheckRequest(service=name)) for name in ("", "", "unknown")]
        for watch, status in zip(watches, ("NOT_SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"), strict=True):
            first = (await watch.read()).status
            assert health_pb2.HealthCheckResponse.ServingStatus.Name(first) == status
        # One that leaves takes no other one with it.
        watches[0].cancel()
        house.server.set_serving(True)
        assert (await watches[1].read()).status == health_pb2.HealthCheckResponse.SERVING
        async with asyncio.timeout(30):
            await house.server.stop()
        assert (await watches[1].read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        for watch in watches[1:]:
            with pytest.raises(aio.AioRpcError) as caught:
                await watch.read()
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_health_of_a_service_that_is_none_is_not_found(local: House) -> None:
    async with aio.insecure_channel(local.server.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(aio.AioRpcError) as caught:
            await stub.Check(health_pb2.HealthCheckRequest(service="crossfade.none"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("release", ["v1", "v1alpha"])
async def test_reflection_describes_each_service_that_it_names(release: str) -> None:
    # What dynamic clients do, and clients with a window: they list the services, and load each of them.
    house = House(ServiceSettings(listen="127.0.0.1:0", drain_seconds=0.1), services=(open_inference.SERVICE,))
    await house.server.start()
    async with aio.insecure_channel(house.server.address) as channel:
        reflect: Any = channel.stream_stream(
            f"/grpc.reflection.{release}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        call = reflect()
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        named = [one.name for one in (await call.read()).list_services_response.service]
        assert named == [
            "crossfade.telemetry.v1.TelemetryService",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
            "inference.GRPCInferenceService",
        ]
        # The details of errors are read by what reflection says of them, too.
        for symbol in (*named, "google.rpc.ErrorInfo"):
            await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol))
            answer = await call.read()
            assert not answer.HasField("error_response"), symbol
            pool = descriptor_pool.DescriptorPool()
            for file in reversed(answer.file_descriptor_response.file_descriptor_proto):
                pool.AddSerializedFile(file)
            assert pool.FindFileContainingSymbol(symbol)
        call.cancel()
    await house.server.stop()


async def test_channelz_is_served_where_it_is_wanted() -> None:
    house = House(ServiceSettings(listen="127.0.0.1:0", drain_seconds=0.1, channelz=True))
    await house.server.start()
    async with aio.insecure_channel(house.server.address) as channel:
        stub: Any = channelz_pb2_grpc.ChannelzStub(channel)
        answer = await stub.GetServers(channelz_pb2.GetServersRequest())
        assert answer.server
    await house.server.stop()


async def test_health_follows_the_service(local: House) -> None:
    async with aio.insecure_channel(local.server.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for serving, status in ((False, "NOT_SERVING"), (True, "SERVING"), (False, "NOT_SERVING")):
            local.server.set_serving(serving)
            answer = await stub.Check(health_pb2.HealthCheckRequest())
            assert health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status) == status


async def test_services_reach_one_another_without_the_proxy_of_the_environment(
    local: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    async with open_channel(local.server.address, ServiceSettings()) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        await stub.Check(health_pb2.HealthCheckRequest(), timeout=10)


async def test_many_calls_over_one_connection_are_all_answered(local: House) -> None:
    async with open_channel(local.server.address, ServiceSettings()) as channel:
        stub: Any = telemetry_pb2_grpc.TelemetryServiceStub(channel)

        async def call() -> bytes:
            answer = await stub.GetMetrics(telemetry_pb2.GetMetricsRequest(), timeout=30)
            return bytes(answer.metrics_data)

        for _ in range(3):
            local.release.clear()
            calls = [asyncio.create_task(call()) for _ in range(800)]
            await asyncio.sleep(0.2)
            local.release.set()
            assert all(await asyncio.gather(*calls))


async def test_a_drain_lets_the_calls_in_flight_end(local: House) -> None:
    local.release.clear()
    call = asyncio.create_task(read(local, ServiceSettings()))
    await until(lambda: local.asked)
    stopping = asyncio.create_task(local.server.stop())
    await asyncio.sleep(0.1)
    local.release.set()
    assert (await call).metrics_data
    await stopping


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "example.org:0"])
def test_nothing_listens_beyond_loopback_without_tls(address: str) -> None:
    with pytest.raises(AddressError, match="takes TLS"):
        Server(ServiceSettings(listen=address), LOG, (), lambda _: None)


@pytest.mark.parametrize("address", ["8500", "127.0.0.1:port", "127.0.0.1:70000"])
def test_what_is_no_address_is_said(address: str) -> None:
    with pytest.raises(ValueError, match="write HOST:PORT"):
        ServiceSettings(listen=address)
    with pytest.raises(AddressError, match="write HOST:PORT"):
        split_address(address)
