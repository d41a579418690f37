"""Predict and Feedback of one version: bytes in, bytes out."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from math import inf
from typing import Any, Final, TypeVar

import grpc
from grpc import aio

from crossfade import metadata as keys
from crossfade.manifest import Manifest
from crossfade.predict.v1 import predict_pb2
from services.common import feedback_rpc, statuses
from services.common.clock import Clock
from services.common.deadlines import ended_by_deadline
from services.common.errors import (
    CrossfadeError,
    FailedPreconditionError,
    InternalError,
    NotFoundError,
    UnavailableError,
)
from services.common.guard import current_metadata, current_principal
from services.common.prediction_token import MAX_ROWS, NO_CLASS, TokenKeys
from services.common.text import shown
from services.worker.domain import ServingKey
from services.worker.front_end.acceptance import Acceptance, accept_seconds, time_left
from services.worker.front_end.call import Activity, Call
from services.worker.front_end.callers import told
from services.worker.front_end.counting import Counting
from services.worker.front_end.finite_inputs import said_of_row
from services.worker.front_end.lanes import LaneBook, Place
from services.worker.front_end.overdue import Overdue
from services.worker.front_end.prediction_ids import PredictionIds
from services.worker.front_end.requests import Answer, BatchRecord
from services.worker.front_end.runner import Runner
from services.worker.front_end.spans import RequestSpan, Spans
from services.worker.front_end.streaming import Streams, Write
from services.worker.shared_memory.outputs import OutputWriter
from services.worker.shared_memory.tensors import InputReader, Inputs, parse_request

ResultT = TypeVar("ResultT")

_NOT_TAKEN: Final = frozenset(
    code.name
    for code in (
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
    )
)
"""Outcomes of requests that were no input of the version's: wrong ones, and those that are sent again elsewhere."""


CountLabels = Callable[[predict_pb2.FeedbackRequest], Awaitable[predict_pb2.FeedbackResponse]]


class PredictServicer:
    """Answers for one version under one address.

    Args:
        key: what is served.
        manifest: the version's.
        lanes: the lanes that it is in.
        counting: where calls are counted.
        clock: deadlines, slices, durations.
        spans: traces.
        token_keys: sign prediction ids; None: answers have none.
        feedback: counts labels; None: Feedback is refused.
    """

    def __init__(
        self,
        key: ServingKey,
        manifest: Manifest,
        *,
        lanes: LaneBook,
        counting: Counting,
        clock: Clock,
        spans: Spans,
        token_keys: TokenKeys | None,
        feedback: CountLabels | None,
    ) -> None:
        self.key = key
        self.manifest = manifest
        self.activity = Activity(latest=clock.monotonic())
        self._lanes = lanes
        self._counting = counting
        self._clock = clock
        self._spans = spans
        self._ids = PredictionIds(token_keys, key, manifest, clock) if token_keys else None
        self._feedback = feedback
        self._reader = InputReader(manifest.signature, manifest.loop.feeds if manifest.loop else ())
        self._writer = OutputWriter(key.model, key.version, manifest.signature)
        self._overdue: Overdue[Call] = Overdue(clock.monotonic, self._take_long)
        self._streams = Streams(
            manifest,
            reader=self._reader,
            writer=self._writer,
            counting=counting,
            ids=self._ids,
            overdue=self._overdue,
            activity=self.activity,
            clock=clock,
        )
        self._runner: Runner

    def attach(self, runner: Runner) -> None:
        """Sets what runs the requests; it needs `on_batch` of this object."""
        self._runner = runner
        self._streams.attach(runner)

    def on_batch(self, record: BatchRecord, tags: Sequence[object]) -> object:
        """Counts a batch that ran, and traces it when one of its requests is traced."""
        traffic, traced = None, []
        for tag in tags:
            assert isinstance(tag, Call)  # noqa: S101 - for the type checker: the runner hands back what it was given
            if traffic is None or tag.place.traffic is self.key.traffic:
                traffic = tag.place.traffic
            if tag.span is not None:
                traced.append(tag.span)
        if record.counted:
            self._counting.batch(traffic or self.key.traffic, record.rows, record.seconds)
        return self._spans.batch(record, traced) if traced else None

    async def predict(self, body: bytes, context: "aio.ServicerContext[bytes, bytes]") -> bytes:
        """Predict, alike under both services' names."""
        begun = self._clock.monotonic()
        request, metadata, place = self._admit(body)
        inputs = self._reader.read(request)
        wanted = self._writer.wanted(request)
        self._writer.check(inputs.rows, wanted, request.id)
        call = self._begin(metadata, place, context)
        work = self._answer(call, inputs, wanted, request.id, begun)
        return await self._counted(call, context, begun, inputs, work)

    async def predict_stream(
        self, body: bytes, context: "aio.ServicerContext[bytes, bytes]", write: Write | None = None
    ) -> None:
        """PredictStream. `write`: takes the parts; by default they are written as they are."""
        begun = self._clock.monotonic()
        request, metadata, place = self._admit(body)
        wanted = self._streams.read(request)
        call = self._begin(metadata, place, context)
        call.parts = 0
        work = self._streams.run(call, wanted, begun, write or context.write)
        await self._counted(call, context, begun, wanted.inputs, work)

    def end_streams(self) -> None:
        """Ends streams after the part that they are at: there is no more time for them."""
        self.activity.ending = True

    def _admit(self, body: bytes) -> tuple[predict_pb2.PredictRequest, dict[str, str], Place]:
        request = parse_request(body)
        metadata = told(current_metadata(), request.model_version, current_principal())
        place = self._lanes.place(metadata, self._clock.now())
        self._check_live(request, metadata.get(keys.VERSION, ""), place)
        return request, metadata, place

    def _begin(self, metadata: dict[str, str], place: Place, context: "aio.ServicerContext[bytes, bytes]") -> Call:
        span = self._spans.request(metadata, self.key, place) if self._spans.enabled else None
        self.activity.in_flight += 1
        return Call(place, self._counting.arrived(place), span, Acceptance(context))

    async def _counted(
        self,
        call: Call,
        context: "aio.ServicerContext[bytes, bytes]",
        begun: float,
        inputs: Inputs,
        work: Coroutine[Any, Any, ResultT],
    ) -> ResultT:
        """Does the work of a call that was accepted, and counts how it ended, and its inputs if they were taken."""
        outcome, span = "ok", call.span
        try:
            return await work
        except CrossfadeError as error:
            outcome = statuses.code_of(error).name
            if error.reason == "DEADLINE_EXCEEDED" and call.is_readers(begun, self._clock.monotonic()):
                # As where the caller's own deadline ends it.
                outcome = grpc.StatusCode.CANCELLED.name
            await call.acceptance.say()
            raise
        except asyncio.CancelledError:
            # grpc cancels the handler at the caller's deadline as well as when the caller gives up. One that has not
            # read what it got was not kept waiting.
            now, left = self._clock.monotonic(), context.time_remaining()
            late = left is not None and ended_by_deadline(left, now - begun) and not call.is_readers(begun, now)
            outcome = (grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED).name
            raise
        except Exception:
            # A part cannot be written to a caller that has gone.
            outcome = (grpc.StatusCode.CANCELLED if call.write_began is not None else grpc.StatusCode.INTERNAL).name
            await call.acceptance.say()
            raise
        finally:
            self._end(call, outcome, begun)
            if span is not None:
                span.end(outcome, call.parts)
            if outcome not in _NOT_TAKEN:
                self._counting.inputs(call.place, inputs.arrays)

    def _end(self, call: Call, outcome: str, begun: float) -> None:
        ended = self._clock.monotonic()
        self.activity.in_flight -= 1
        self.activity.latest = ended
        if call.parts is None:
            call.tally.call(outcome, ended - begun)
            return
        # Series may have been dropped since it began. What a caller waits for is the first part.
        tally = self._counting.at(call.place)
        tally.call(outcome, (call.first_part or ended) - begun)
        tally.stream(outcome, ended - begun, call.parts)

    async def _answer(
        self, call: Call, inputs: Inputs, wanted: tuple[int, ...], request_id: str, begun: float
    ) -> bytes:
        left, unbounded = time_left(call.acceptance)
        if unbounded:
            call.expires = begun + left
        call.request = request = self._runner.submit(inputs.arrays, inputs.rows, begun + left, call)
        self._overdue.add(call, begun + accept_seconds(left))
        try:
            answer = await request.answer
            await call.acceptance.finish()
            call.tally.queued(answer.queue_seconds)
            self._check_answer(answer, call.span, inputs)
            # Those rows that the token states, and that labels may therefore come for: coverage is their share.
            classes = answer.classes[:MAX_ROWS] or (NO_CLASS,) * min(inputs.rows, MAX_ROWS)
            call.tally.predicted(classes)
            token = self._ids.make(call.place, classes, answer.outputs) if self._ids else ""
            return self._writer.write(inputs.rows, wanted, answer.outputs, request_id, token)
        finally:
            self._overdue.discard(call)
            self._runner.release(request)

    def _take_long(self, call: Call) -> float | None:
        if call.expires <= self._clock.monotonic() and call.request is not None:
            self._runner.expire(call.request)
            return None
        call.acceptance.begin()
        # The caller's deadline cancels its call; a call without one is ended here.
        return call.expires if call.expires < inf else None

    def _check_answer(self, answer: Answer, span: RequestSpan | None, inputs: Inputs) -> None:
        if span is not None:
            span.waited(answer)
        if (row := answer.bad_row) is not None:
            said = said_of_row(self.manifest.signature, inputs.arrays, row)
            raise InternalError(
                "OUTPUT_NOT_FINITE",
                f"{self.key.model} {self.key.version} answered row {row} with NaN or an infinity{said}",
            )

    def _check_live(self, request: predict_pb2.PredictRequest, pin: str, place: Place) -> None:
        key = self.key
        if request.model_name not in ("", key.model):
            raise NotFoundError(
                "MODEL_NOT_FOUND", f"this address serves {key.model}, not {shown(request.model_name)}; call the Router"
            )
        for pinned in (request.model_version, pin):
            if pinned not in ("", key.version) and not pinned.startswith("@"):
                raise FailedPreconditionError(
                    "VERSION_NOT_LIVE",
                    f"this address serves {key.model} {key.version}, not {shown(pinned)}; call the Router",
                )
        if place.refused:
            raise FailedPreconditionError(
                "VERSION_NOT_LIVE", f"{key.model} {key.version} has failed and is not served any more"
            )
        if self.activity.closing:
            raise UnavailableError("DRAINING", "this process ends; send the request again")

    async def feedback(
        self, request: predict_pb2.FeedbackRequest, context: aio.ServicerContext[Any, Any]
    ) -> predict_pb2.FeedbackResponse:
        """Feedback for predictions of this process's version."""
        del context
        if self._feedback is None:
            raise FailedPreconditionError(
                "FEEDBACK_OFF", "this Worker has no token keys: set CROSSFADE_TOKEN_KEYS, or send feedback to a Router"
            )
        feedback_rpc.check(request)
        return await self._feedback(request)

    def handlers(self) -> grpc.GenericRpcHandler:
        """The methods of crossfade.predict.v1.PredictionService."""
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Predict": grpc.unary_unary_rpc_method_handler(self.predict),
            "PredictStream": grpc.unary_stream_rpc_method_handler(self.predict_stream),
            "Feedback": grpc.unary_unary_rpc_method_handler(
                self.feedback,
                request_deserializer=predict_pb2.FeedbackRequest.FromString,
                response_serializer=predict_pb2.FeedbackResponse.SerializeToString,
            ),
        }
        return grpc.method_handlers_generic_handler("crossfade.predict.v1.PredictionService", handlers)
