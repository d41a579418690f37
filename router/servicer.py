"""The RPCs of callers: bytes and metadata to the proxy's calls, replies to statuses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from grpc import aio

from crossfade import metadata as keys
from crossfade.names import LONGEST_ID
from crossfade.predict.v1 import predict_pb2
from router.call import Answer, Call, Reply
from router.peers import Peers
from router.proxy import Proxy
from router.routing import Route, check_known, told_by
from router.spans import Spans
from router.wire import LongNameError, MalformedError, first_fields
from services.common import open_inference
from services.common.clock import Clock
from services.common.deadlines import seconds_left, sooner
from services.common.errors import (
    CrossfadeError,
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from services.common.guard import current_metadata, current_principal
from services.common.identity import Role, require_role
from services.common.statuses import code_of, details_of, trailer_of
from services.common.stream_infer import StreamInfer, Write, problem_of
from services.common.text import shown

_DEFAULT_SECONDS: Final = 30.0
"""Time of a call without a deadline."""

PREDICTION_SERVICE: Final = "crossfade.predict.v1.PredictionService"

_Context = aio.ServicerContext


class PredictHandlers:
    """PredictionService and the Open Inference Protocol's own names, on the same proxy.

    Args:
        proxy: routes and carries.
        peers: takes feedback.
        spans: traces.
        clock: deadlines.
        streams: answers ModelStreamInfer.
    """

    def __init__(self, proxy: Proxy, peers: Peers, spans: Spans, clock: Clock, streams: StreamInfer) -> None:
        self._proxy = proxy
        self._peers = peers
        self._spans = spans
        self._clock = clock
        self._streams = streams

    def register(self, server: aio.Server) -> None:
        """Adds the handlers to a server. Predict's bytes are passed on as they are."""
        predict: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(self._predict)
        feedback = grpc.unary_unary_rpc_method_handler(
            self._feedback,
            request_deserializer=predict_pb2.FeedbackRequest.FromString,
            response_serializer=predict_pb2.FeedbackResponse.SerializeToString,
        )
        ours: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Predict": predict,
            "PredictStream": grpc.unary_stream_rpc_method_handler(self._predict_stream),
            "Feedback": feedback,
        }
        theirs: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "ModelInfer": predict,
            "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(self._model_stream_infer),
            "ServerLive": _unary(self._server_live, predict_pb2.ServerLiveRequest),
            "ServerReady": _unary(self._server_ready, predict_pb2.ServerReadyRequest),
            "ModelReady": _unary(self._model_ready, predict_pb2.ModelReadyRequest),
            "ServerMetadata": _unary(self._server_metadata, predict_pb2.ServerMetadataRequest),
            "ModelMetadata": grpc.unary_unary_rpc_method_handler(self._model_metadata),
        }
        server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(PREDICTION_SERVICE, ours),
                grpc.method_handlers_generic_handler(open_inference.SERVICE, theirs),
            )
        )

    async def _predict(self, body: bytes, context: _Context[bytes, bytes]) -> bytes:
        answer = await self._carry(body, context, self._proxy.predict)
        if not answer.reply.ok:
            await _abort(context, answer)
        return answer.reply.body

    async def _predict_stream(self, body: bytes, context: _Context[bytes, bytes]) -> None:
        answer = await self._stream(body, context, context.write)
        if not answer.reply.ok:
            await _abort(context, answer)

    async def _model_stream_infer(self, requests: AsyncIterator[bytes], context: _Context[bytes, bytes]) -> None:
        async def one(body: bytes, write: Write) -> str:
            answer = await self._stream(body, context, write)
            if self._proxy.ending and not answer.reply.ok:
                raise UnavailableError("DRAINING", "this Router ends; send the request again")
            own = _own_words(answer)
            return (
                "" if answer.reply.ok else problem_of(answer.reply.code, own.message if own else answer.reply.message)
            )

        await self._streams.serve(requests, context, one)

    async def _stream(self, body: bytes, context: _Context[bytes, bytes], write: Write) -> Answer:
        async def stream(call: Call, route: Route) -> Answer:
            return await self._proxy.stream(call._replace(streamed=True), route, write)

        return await self._carry(body, context, stream, "PredictStream")

    async def _carry(
        self,
        body: bytes,
        context: _Context[bytes, bytes],
        carry: Callable[[Call, Route], Awaitable[Answer]],
        method: str = "Predict",
    ) -> Answer:
        """Finds a call's route, and has it carried along."""
        started_ns = time.time_ns()
        metadata = current_metadata()
        said: dict[str, Any] = {key: value for key, value in metadata if key.startswith("x-crossfade-")}
        try:
            model, version = first_fields(body, LONGEST_ID)
        except MalformedError as error:
            raise InvalidArgumentError("MESSAGE_MALFORMED", str(error)) from error
        except LongNameError as error:
            raise InvalidArgumentError("FIELD_INVALID", str(error), field=error.field) from error
        model = _agreed("model_name", model, keys.MODEL, said.get(keys.MODEL, ""))
        if not model:
            raise InvalidArgumentError(
                "FIELD_INVALID", f"the request names no model: set model_name or {keys.MODEL}", field="model_name"
            )
        pin = _agreed("model_version", version, keys.VERSION, said.get(keys.VERSION, ""))
        if pin:
            require_role(current_principal(), Role.TESTER, "pin a version")
        await self._proxy.first_table()
        route = self._proxy.route(model, said.get(keys.SEGMENT, ""), said.get(keys.KEY, ""), pin)
        left = seconds_left(context)
        deadline = self._clock.monotonic() + (_DEFAULT_SECONDS if left is None else left)
        earlier = 0.0 if left is None else sooner(left)
        span, trace = self._spans.begin(route, metadata, method)
        try:
            call = Call(body, deadline, trace, route.cohort, route.caller, sooner=earlier)
            answer = await carry(call, route)
        except CrossfadeError as error:
            failed = Reply(code_of(error).name, message=error.message, details=details_of(error))
            answer = Answer(failed, route.target.version, route.target.traffic)
        except asyncio.CancelledError:
            gone = Answer(Reply("CANCELLED"), route.target.version, route.target.traffic)
            self._spans.end(span, route, gone, started_ns, method, metadata)
            raise
        self._spans.end(span, route, answer, started_ns, method, metadata)
        return answer

    async def _feedback(
        self, request: predict_pb2.FeedbackRequest, context: _Context[Any, Any]
    ) -> predict_pb2.FeedbackResponse:
        # Without routes it knows no version's classes, and would take each label for one that is too late.
        check_known(await self._proxy.first_table())
        forwarded = Role.ROUTER in current_principal().roles and any(
            key == keys.FORWARDED for key, _ in current_metadata()
        )
        left = seconds_left(context)
        return await self._peers.observe(
            request, forwarded=forwarded, seconds=_DEFAULT_SECONDS if left is None else left
        )

    async def _server_live(self, _: predict_pb2.ServerLiveRequest, __: Any) -> predict_pb2.ServerLiveResponse:
        return predict_pb2.ServerLiveResponse(live=True)

    async def _server_ready(self, _: predict_pb2.ServerReadyRequest, __: Any) -> predict_pb2.ServerReadyResponse:
        lanes = self._proxy.table.lanes.values()
        return predict_pb2.ServerReadyResponse(ready=any(lane.stable and lane.stable.addresses for lane in lanes))

    async def _model_ready(self, request: predict_pb2.ModelReadyRequest, _: Any) -> predict_pb2.ModelReadyResponse:
        try:
            route = told_by(self._proxy.table, request.name, _segment(), request.version)
        except (NotFoundError, UnavailableError):
            return predict_pb2.ModelReadyResponse(ready=False)
        return predict_pb2.ModelReadyResponse(ready=bool(route.target.addresses))

    async def _server_metadata(
        self, _: predict_pb2.ServerMetadataRequest, __: Any
    ) -> predict_pb2.ServerMetadataResponse:
        return predict_pb2.ServerMetadataResponse(name="crossfade", version="0.1.0")

    async def _model_metadata(self, body: bytes, context: _Context[bytes, bytes]) -> bytes:
        """Asked of a Worker: it alone has read the artifact."""
        try:
            request = predict_pb2.ModelMetadataRequest.FromString(body)
        except DecodeError as error:
            raise InvalidArgumentError("MESSAGE_MALFORMED", "the request is no ModelMetadataRequest") from error
        route = told_by(await self._proxy.first_table(), request.name, _segment(), request.version)
        # The process knows its version by its own name alone.
        asked = predict_pb2.ModelMetadataRequest(name=request.name, version=route.target.version)
        left = seconds_left(context) or _DEFAULT_SECONDS
        method = f"/{open_inference.SERVICE}/ModelMetadata"
        reply = await self._proxy.ask(route, method, asked.SerializeToString(), left)
        if not reply.ok:
            await _abort(context, Answer(reply, route.target.version, route.target.traffic))
        return reply.body


def _agreed(field: str, here: str, key: str, there: str) -> str:
    """What a request names in its body, in its metadata or in both.

    Raises:
        InvalidArgumentError: FIELD_INVALID, where these differ: a Worker takes no body that names another version.
    """
    if here and there and here != there:
        raise InvalidArgumentError(
            "FIELD_INVALID", f"the request has {field} {shown(here)} and {key} {shown(there)}: name one", field=field
        )
    return there or here


def _segment() -> str:
    """The segment that the caller names; empty: none."""
    return str(dict(current_metadata()).get(keys.SEGMENT, ""))


async def _abort(context: _Context[bytes, bytes], answer: Answer) -> None:
    reply = answer.reply
    own = _own_words(answer)
    if own is not None:
        raise own
    trailer = trailer_of(reply.details) if reply.details else ()
    await context.abort(grpc.StatusCode[reply.code], reply.message, trailer)


def _own_words(answer: Answer) -> CrossfadeError | None:
    """The error for a failure that grpc itself reported, which has no reason and no advice; None: the Worker's own."""
    reply, version = answer.reply, answer.version
    if reply.details:
        return None
    match reply.code:
        case "UNAVAILABLE" | "CANCELLED" if answer.parts:
            return UnavailableError(
                "STREAM_BROKEN",
                f"the answer of {version} broke off after {answer.parts} parts, for its process is gone; ask again",
                version=version,
            )
        case "DEADLINE_EXCEEDED":
            return DeadlineExceededError(
                "DEADLINE_EXCEEDED", f"{version} did not answer within the call's deadline", version=version
            )
        case "UNAVAILABLE" | "CANCELLED":
            return UnavailableError("NOT_SERVING", f"no process of {version} answers; try again", version=version)
        case "RESOURCE_EXHAUSTED":
            return ResourceExhaustedError("TOO_LARGE", f"{version} could not take the call: {reply.message}")
        case _:
            return None


def _unary(behavior: Callable[..., Any], request: Any) -> grpc.RpcMethodHandler[Any, Any]:
    return grpc.unary_unary_rpc_method_handler(
        behavior,
        request_deserializer=request.FromString,
        response_serializer=lambda response: response.SerializeToString(),
    )
