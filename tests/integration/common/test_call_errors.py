"""What a caller is told of an error."""

import json
from typing import Any

import grpc
import pytest
from grpc import aio

from crossfade.errors import details_of
from services.common.errors import FailedPreconditionError, InvalidArgumentError, ResourceExhaustedError
from services.common.settings import ServiceSettings
from tests.integration.common.house import House, read


async def test_a_domain_error_becomes_a_status_with_details(local: House) -> None:
    local.error = FailedPreconditionError("NOT_READY_ENOUGH", "wait for a Worker", ready="0")
    with pytest.raises(aio.AioRpcError) as caught:
        await read(local, ServiceSettings())
    details = details_of(caught.value)
    assert (details.code, details.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NOT_READY_ENOUGH")
    assert (details.message, details.metadata) == ("wait for a Worker", {"ready": "0"})


async def test_retries_by_a_service_config_come_again_when_they_are_told_to(local: House) -> None:
    local.errors = [ResourceExhaustedError("QUEUE_FULL", "full", retry_seconds=0.05)]
    retries = {
        "name": [{}],
        "retryPolicy": {
            "maxAttempts": 2,
            "initialBackoff": "60s",
            "maxBackoff": "60s",
            "backoffMultiplier": 1,
            "retryableStatusCodes": ["RESOURCE_EXHAUSTED"],
        },
    }
    options = (("grpc.service_config", json.dumps({"methodConfig": [retries]})),)
    async with aio.insecure_channel(local.server.address, options) as channel:
        call: Any = channel.unary_unary("/crossfade.telemetry.v1.TelemetryService/GetMetrics")
        assert await call(b"", timeout=10)
    assert local.errors == []


@pytest.mark.parametrize("filler", ["x", "\x01", "€", "😀", "%", "\ud800"])
async def test_of_a_long_error_a_caller_gets_the_code_the_reason_and_the_beginning(local: House, filler: str) -> None:
    local.error = InvalidArgumentError("INPUT_UNKNOWN", "no such input: " + filler * 20_000, field="inputs[0].name")
    with pytest.raises(aio.AioRpcError) as caught:
        await read(local, ServiceSettings())
    details = details_of(caught.value)
    told = (details.code, details.reason, details.field)
    assert told == (grpc.StatusCode.INVALID_ARGUMENT, "INPUT_UNKNOWN", "inputs[0].name")
    assert details.message.startswith("no such input: ")
    assert details.message == caught.value.details()
    assert details.message.endswith("…")


async def test_what_nobody_expected_is_internal_and_says_nothing_of_itself(local: House) -> None:
    local.error = RuntimeError("password=hunter2")
    with pytest.raises(aio.AioRpcError) as caught:
        await read(local, ServiceSettings())
    details = details_of(caught.value)
    assert (details.code, details.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "hunter2" not in details.message
    assert details.metadata["error_id"] in details.message
