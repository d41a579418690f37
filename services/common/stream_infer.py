"""ModelStreamInfer, the Open Inference Protocol's streaming method as Triton has it, over PredictStream's parts.

Source: Triton Inference Server, grpc_service.proto, `ModelStreamInfer`: requests come on one stream, and each is
answered by any number of responses; a failure is a response with `error_message`, and the stream goes on.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from grpc import aio

from crossfade.predict.v1 import predict_pb2
from services.common.errors import CrossfadeError, UnavailableError
from services.common.statuses import code_of
from services.common.varint import varint

Write = Callable[[bytes], Awaitable[None]]
_INFER_RESPONSE: Final = b"\x12"
"""The tag of field 2, length-delimited."""


async def answer_each(
    requests: AsyncIterator[bytes],
    context: "aio.ServicerContext[Any, Any]",
    answer: Callable[[bytes, Write], Awaitable[str]],
) -> None:
    """Answers the requests of a stream, one after the other.

    Args:
        requests: serialized.
        context: of the stream.
        answer: writes the parts of one request's answer; answers what went wrong, or nothing.

    Raises:
        UnavailableError: DRAINING; a client that begins anew reaches another process.
    """

    async def write(part: bytes) -> None:
        await context.write(_INFER_RESPONSE + varint(len(part)) + part)

    async for request in requests:
        try:
            problem = await answer(request, write)
        except CrossfadeError as error:
            if isinstance(error, UnavailableError) and error.reason == "DRAINING":
                raise
            problem = problem_of(code_of(error).name, error.message)
        if problem:
            await context.write(predict_pb2.ModelStreamInferResponse(error_message=problem).SerializeToString())


def problem_of(code: str, message: str) -> str:
    """What a response says of a failure."""
    return f"[{code}] {message}"
