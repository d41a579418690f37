"""What a failure's details hold, and that a client's limit of metadata takes them."""

import base64

import pytest
from google.rpc import error_details_pb2, status_pb2

from crossfade.errors import DETAILS_KEY
from services.common.errors import (
    CrossfadeError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
)
from services.common.statuses import RETRY_KEY, details_of, message_of, trailer_of

_METADATA_LIMIT = 8192
_WIDE = "\N{HIRAGANA LETTER A}" * 1_000_000


def info_of(error: CrossfadeError) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo()
    assert status_pb2.Status.FromString(details_of(error)).details[0].Unpack(info)
    return info


def test_when_to_come_again_is_told_where_it_is_known() -> None:
    retry = error_details_pb2.RetryInfo()
    known = ResourceExhaustedError("QUEUE_FULL", "full", retry_seconds=0.25)
    assert status_pb2.Status.FromString(details_of(known)).details[1].Unpack(retry)
    assert retry.retry_delay.ToTimedelta().total_seconds() == 0.25
    assert len(status_pb2.Status.FromString(details_of(ResourceExhaustedError("QUEUE_FULL", "full"))).details) == 1


def test_when_to_come_again_is_told_to_retries_that_read_no_details() -> None:
    known = details_of(ResourceExhaustedError("QUEUE_FULL", "full", retry_seconds=0.25))
    assert trailer_of(known) == ((DETAILS_KEY, known), (RETRY_KEY, "250"))
    # The words of a caller make none.
    for error in (ResourceExhaustedError("QUEUE_FULL", "full"), NotFoundError("NOT_FOUND", "google.rpc.RetryInfo")):
        assert trailer_of(details_of(error)) == ((DETAILS_KEY, details_of(error)),)


def test_facts_are_told_as_they_are() -> None:
    info = info_of(NotFoundError("MODEL_NOT_FOUND", "no such model", model="m" * 63, state="é" * 100))
    assert dict(info.metadata) == {"model": "m" * 63, "state": "é" * 100}


@pytest.mark.parametrize(
    "error",
    [
        NotFoundError("MODEL_NOT_FOUND", _WIDE, model=_WIDE),
        FailedPreconditionError("STATE", _WIDE, **{f"fact_{number}": _WIDE for number in range(16)}),
        InvalidArgumentError("FIELD_INVALID", _WIDE, field=_WIDE, model=_WIDE, version=_WIDE),
    ],
)
def test_long_ones_are_cut_so_that_a_client_gets_the_code_and_the_reason(error: CrossfadeError) -> None:
    # grpc percent-encodes the message, and encodes what is binary by base64 (gRPC over HTTP2, "Responses").
    message = "".join(f"%{byte:02X}" for byte in message_of(error).encode())
    sent = len(message) + len(base64.b64encode(details_of(error)))
    assert sent < _METADATA_LIMIT - 512
    info = info_of(error)
    assert info.reason == error.reason
    assert all(value.endswith("…") for value in info.metadata.values())
