"""Predict and Feedback of one version: bytes in, bytes out."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from grpc import aio

from crossfade import metadata as keys
from crossfade.manifest import Manifest
from crossfade.predict.v1 import predict_pb2
from services.common import feedback_rpc, statuses
from services.common.clock import Clock
from services.common.errors import (
    CrossfadeError,
    DeadlineExceededError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from services.common.feedback import FeedbackBook
from services.common.guard import current_principal
from services.common.identity import Role
from services.common.prediction_token import MAX_ROWS, NO_CLASS, Prediction, TokenKeys
from services.worker.counting import Counting
from services.worker.domain import ServingKey
from services.worker.lanes import LaneBook, Place
from services.worker.runner import Answer, BatchRecord, Runner
from services.worker.spans import RequestSpan, Spans
from services.worker.tensors import InputReader, Inputs, OutputWriter, parse_request

MISSING_DEADLINE_SECONDS: Final = 30.0
"""What a call without a deadline gets."""

_INTERNAL_KEYS: Final = frozenset({keys.TRAFFIC, keys.EPOCH})


@dataclass(frozen=True, slots=True)
class Tag:
    """What the device's batches know of a request."""

    place: Place
    span: RequestSpan | None


@dataclass(slots=True)
class Activity:
    """Requests under way, and when the latest one came or left, by the monotonic clock."""

    in_flight: int = 0
    latest: float = 0.0
    closing: bool = False


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
        feedback: FeedbackBook | None,
    ) -> None:
        self.key = key
        self.manifest = manifest
        self.activity = Activity(latest=clock.monotonic())
        self._lanes = lanes
        self._counting = counting
        self._clock = clock
        self._spans = spans
        self._tokens = token_keys
        self._feedback = feedback
        self._reader = InputReader(manifest.signature)
        self._writer = OutputWriter(key.model, key.version, manifest.signature)
        self._names = tuple(spec.name for spec in manifest.signature.inputs)
        self._runner: Runner

    def attach(self, runner: Runner) -> None:
        """Sets what runs the requests; it needs `on_batch` of this object."""
        self._runner = runner

    def on_batch(self, record: BatchRecord, tags: Sequence[object]) -> object:
        """Counts a batch that ran, and traces it when one of its requests is traced."""
        own = [tag for tag in tags if isinstance(tag, Tag)]
        kinds = [tag.place.traffic for tag in own]
        self._counting.batch(self.key.traffic if self.key.traffic in kinds else kinds[0], record.rows, record.seconds)
        traced = [tag.span for tag in own if tag.span is not None]
        return self._spans.batch(record, traced) if traced else None

    async def predict(self, body: bytes, context: "aio.ServicerContext[bytes, bytes]") -> bytes:
        """Predict, alike under both services' names."""
        begun = self._clock.monotonic()
        request = parse_request(body)
        metadata = {key: str(value) for key, value in context.invocation_metadata() or ()}
        if metadata.keys() & _INTERNAL_KEYS and Role.ROUTER not in current_principal().roles:
            metadata = {key: value for key, value in metadata.items() if key not in _INTERNAL_KEYS}
        place = self._lanes.place(metadata, self._clock.now())
        self._check_live(request, place)
        inputs = self._reader.read(request)
        wanted = self._writer.wanted(request)
        span = self._spans.request(metadata, self.key, place) if self._spans.enabled else None
        outcome = "ok"
        self.activity.in_flight += 1
        try:
            answer = await self._run(inputs, Tag(place, span), begun, context)
            return self._written(request, answer, inputs.rows, wanted, place)
        except CrossfadeError as error:
            outcome = statuses.code_of(error).name
            raise
        except asyncio.CancelledError:
            # grpc cancels the handler at the caller's deadline as well as when the caller gives up.
            remaining = context.time_remaining()
            late = remaining is not None and remaining <= 0
            outcome = (grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED).name
            raise
        except Exception:
            outcome = grpc.StatusCode.INTERNAL.name
            raise
        finally:
            ended = self._clock.monotonic()
            self.activity.in_flight -= 1
            self.activity.latest = ended
            self._counting.call(place.traffic, place.segment, outcome, place.epoch, ended - begun)
            if span is not None:
                span.end(outcome)

    async def _run(
        self, inputs: Inputs, tag: Tag, begun: float, context: "aio.ServicerContext[bytes, bytes]"
    ) -> Answer:
        remaining = context.time_remaining()
        deadline = begun + (MISSING_DEADLINE_SECONDS if remaining is None else remaining)
        try:
            ticket, future = self._runner.submit(inputs.arrays, inputs.rows, deadline, tag)
        except CrossfadeError:
            # A full queue is charged to the version, and what is charged has sent its initial metadata.
            await context.send_initial_metadata(())
            raise
        self._counting.inputs(tag.place.traffic, dict(zip(self._names, inputs.arrays, strict=True)))
        try:
            # While the model runs: the request has been accepted.
            await context.send_initial_metadata(())
            if remaining is None:
                async with asyncio.timeout(MISSING_DEADLINE_SECONDS):
                    answer = await future
            else:
                answer = await future
        except TimeoutError as error:
            self._runner.cancel(ticket)
            raise DeadlineExceededError(
                "DEADLINE_EXCEEDED",
                f"no answer within {MISSING_DEADLINE_SECONDS:.0f} s, what a call without a deadline gets",
            ) from error
        except asyncio.CancelledError:
            self._runner.cancel(ticket)
            raise
        self._counting.queued(tag.place.traffic, answer.queue_seconds)
        if tag.span is not None:
            tag.span.waited(answer)
        if not answer.finite:
            raise InternalError(
                "OUTPUT_NOT_FINITE", f"{self.key.model} {self.key.version} answered with NaN or an infinity"
            )
        return answer

    def _check_live(self, request: predict_pb2.PredictRequest, place: Place) -> None:
        key = self.key
        if request.model_name not in ("", key.model):
            raise NotFoundError(
                "MODEL_NOT_FOUND", f"this address serves {key.model}, not {request.model_name!r}; call the Router"
            )
        pinned = request.model_version
        if pinned not in ("", key.version) and not pinned.startswith("@"):
            raise FailedPreconditionError(
                "VERSION_NOT_LIVE", f"this address serves {key.model} {key.version}, not {pinned}; call the Router"
            )
        if place.refused:
            raise FailedPreconditionError(
                "VERSION_NOT_LIVE", f"{key.model} {key.version} has failed and is not served any more"
            )
        if self.activity.closing:
            raise UnavailableError("DRAINING", "this process ends; send the request again")

    def _written(
        self, request: predict_pb2.PredictRequest, answer: Answer, rows: int, wanted: tuple[int, ...], place: Place
    ) -> bytes:
        classes = answer.classes
        self._counting.predicted(place.traffic, place.segment, place.epoch, place.slice_number, classes)
        tail = predict_pb2.PredictResponse(id=request.id)
        if self._tokens is not None:
            prediction = Prediction(
                nonce=secrets.randbits(64),
                time_ms=int(self._clock.now() * 1000),
                epoch=place.epoch,
                slice=place.slice_number,
                traffic=place.traffic_number,
                model=self.key.model,
                version=self.key.version,
                segment=place.segment,
                classes=tuple(classes[:MAX_ROWS]) or (NO_CLASS,) * min(rows, MAX_ROWS),
            )
            tail.parameters[keys.PREDICTION_ID].string_param = self._tokens.sign(prediction)
        return self._writer.write(rows, wanted, answer.outputs, tail)

    async def feedback(self, body: bytes, context: "aio.ServicerContext[bytes, bytes]") -> bytes:
        """Feedback for predictions of this process's version."""
        del context
        if self._feedback is None:
            raise FailedPreconditionError(
                "FEEDBACK_OFF", "this Worker has no token keys: set CROSSFADE_TOKEN_KEYS, or send feedback to a Router"
            )
        try:
            request = predict_pb2.FeedbackRequest.FromString(body)
        except DecodeError as error:
            raise InvalidArgumentError(
                "MESSAGE_MALFORMED", f"the body's {len(body)} bytes are no FeedbackRequest"
            ) from error
        return feedback_rpc.answer(self._feedback, request).SerializeToString()

    def handlers(self) -> grpc.GenericRpcHandler:
        """The methods of crossfade.predict.v1.PredictionService."""
        methods: dict[str, Callable[[bytes, Any], Awaitable[bytes]]] = {
            "Predict": self.predict,
            "Feedback": self.feedback,
        }
        return grpc.method_handlers_generic_handler(
            "crossfade.predict.v1.PredictionService",
            {name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()},
        )
