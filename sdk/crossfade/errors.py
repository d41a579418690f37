"""What a failed call says: the google.rpc.ErrorInfo that every service of Crossfade sends (AIP-193)."""

import re
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from google.rpc import error_details_pb2, status_pb2

DETAILS_KEY: Final = "grpc-status-details-bin"
"""Trailer that holds a serialized google.rpc.Status."""
_OVER_LIMIT: Final = re.compile(r"message larger than max \((\d+) vs\. (\d+)\)")


@dataclass(frozen=True, slots=True)
class ErrorDetails:
    """Why a call failed.

    Attributes:
        code: the gRPC code.
        message: for people.
        reason: UPPER_SNAKE, for programs; empty when the failure did not come from a service of Crossfade.
        metadata: facts for programs.
        field: path of the field that is wrong; empty: no single one.
        retry_seconds: after about so long it may be sent again; 0: nobody has said.
    """

    code: grpc.StatusCode
    message: str
    reason: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    field: str = ""
    retry_seconds: float = 0.0


def raw_details(error: grpc.RpcError) -> bytes:
    """The serialized google.rpc.Status of a failed call; empty: it has none."""
    metadata: Any = error.trailing_metadata() if hasattr(error, "trailing_metadata") else None
    raw = next((value for key, value in tuple(metadata or ()) if key == DETAILS_KEY), b"")
    return raw if isinstance(raw, bytes) else b""


def _of_grpc(code: grpc.StatusCode, message: str) -> ErrorDetails:
    """What grpc itself says, with advice where its own words have none."""
    over = _OVER_LIMIT.search(message)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and over:
        size, limit = int(over[1]), int(over[2])
        advice = f"a message of {size:,} bytes is over the limit of {limit:,} for one call: send fewer rows in each"
        return ErrorDetails(code, advice, "TOO_LARGE", {"bytes": str(size), "limit": str(limit)})
    return ErrorDetails(code, message)


def details_of(error: grpc.RpcError) -> ErrorDetails:
    """Reads what a failed call says, whichever of grpc's APIs raised it."""
    code = error.code() if hasattr(error, "code") else grpc.StatusCode.UNKNOWN
    message = (error.details() if hasattr(error, "details") else None) or ""
    raw = raw_details(error)
    if not raw:
        return _of_grpc(code, message)
    status = status_pb2.Status.FromString(raw)
    info = error_details_pb2.ErrorInfo()
    bad = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
        detail.Unpack(retry)
    path = bad.field_violations[0].field if bad.field_violations else ""
    seconds = retry.retry_delay.ToNanoseconds() / 1e9
    return ErrorDetails(code, status.message, info.reason, dict(info.metadata), path, seconds)
