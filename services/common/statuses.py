"""One table from domain errors to gRPC statuses with google.rpc details (AIP-193)."""

from typing import Final

import grpc
from google.protobuf import any_pb2, message
from google.rpc import error_details_pb2, status_pb2

from crossfade.errors import DETAILS_KEY
from services.common import errors
from services.common.text import fitting_bytes

DOMAIN = "crossfade"
RETRY_KEY: Final = "grpc-retry-pushback-ms"
"""Trailer by which a client that is configured to retry, and reads no details, learns when. Source: gRFC A6,
https://github.com/grpc/proposal/blob/master/A6-client-retries.md."""
_RETRY_TYPE: Final = error_details_pb2.RetryInfo.DESCRIPTOR.full_name.encode()
_MESSAGE_BYTES: Final = 1024
"""Bytes of the longest message. It is in the trailer up to three times, once with three bytes for each that is no
printable ASCII, and grpc's clients take 8 KiB of metadata: with more the code and the reason would be lost as well."""
_FACTS_BYTES: Final = 1024
"""Bytes that all facts beside it have together."""
_FACT_BYTES: Final = 256
"""Bytes of the longest one, and of the path of a field."""

CODES: dict[type[errors.CrossfadeError], grpc.StatusCode] = {
    errors.InvalidArgumentError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPreconditionError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.AbortedError: grpc.StatusCode.ABORTED,
    errors.OutOfRangeError: grpc.StatusCode.OUT_OF_RANGE,
    errors.UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    errors.ResourceExhaustedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.DeadlineExceededError: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.UnavailableError: grpc.StatusCode.UNAVAILABLE,
    errors.InternalError: grpc.StatusCode.INTERNAL,
}


def code_of(error: errors.CrossfadeError) -> grpc.StatusCode:
    """The gRPC code of a domain error."""
    return CODES[type(error)]


def message_of(error: errors.CrossfadeError) -> str:
    """What a caller is told in words: the beginning, where it is long."""
    return fitting_bytes(error.message, _MESSAGE_BYTES)


def details_of(error: errors.CrossfadeError) -> bytes:
    """The serialized google.rpc.Status for the trailer `grpc-status-details-bin`."""
    said = message_of(error)
    details: list[message.Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=_facts(error))
    ]
    if isinstance(error, errors.InvalidArgumentError) and error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=fitting_bytes(error.field, _FACT_BYTES), description=said
        )
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, errors.FailedPreconditionError):
        failure = error_details_pb2.PreconditionFailure.Violation(type=error.reason, description=said)
        details.append(error_details_pb2.PreconditionFailure(violations=[failure]))
    if isinstance(error, errors.ResourceExhaustedError) and error.retry_seconds:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(error.retry_seconds * 1e9))
        details.append(retry)
    code: int = code_of(error).value[0]
    status = status_pb2.Status(code=code, message=said)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return bytes(status.SerializeToString())


def trailer_of(details: bytes) -> tuple[tuple[str, str | bytes], ...]:
    """The trailer of a failure with such details, a serialized google.rpc.Status."""
    retry = error_details_pb2.RetryInfo()
    # Few failures say when to come again, and only of those the details are read.
    said = _RETRY_TYPE in details and any(
        detail.Unpack(retry) for detail in status_pb2.Status.FromString(details).details
    )
    again = ((RETRY_KEY, str(retry.retry_delay.ToMilliseconds())),) if said else ()
    return ((DETAILS_KEY, details), *again)


def _facts(error: errors.CrossfadeError) -> dict[str, str]:
    """The facts that a program can use: of long ones, which a caller has made so, the beginning."""
    most = min(_FACT_BYTES, _FACTS_BYTES // max(1, len(error.metadata)))
    return {key: fitting_bytes(value, most) for key, value in error.metadata.items()}
