"""Predict and Feedback of one version: bytes in, bytes out."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import grpc
from google.protobuf.message import DecodeError
from grpc import aio

from crossfade import metadata as keys
from crossfade.manifest import Manifest, Task
from crossfade.predict.v1 import predict_pb2
from services.common import feedback_rpc, statuses
from services.common.clock import Clock
from services.common.errors import (
    CrossfadeError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from services.common.feedback import FeedbackBook
from services.common.guard import current_metadata, current_principal
from services.common.identity import Role
from services.common.prediction_token import MAX_ROWS, NO_CLASS, Prediction, TokenKeys
from services.worker.acceptance import Acceptance
from services.worker.counting import Counting
from services.worker.domain import ServingKey
from services.worker.lanes import LaneBook, Place
from services.worker.outputs import OutputWriter
from services.worker.runner import Answer, BatchRecord, Runner
from services.worker.spans import RequestSpan, Spans
from services.worker.tensors import InputReader, Inputs, parse_request, to_numbers

MISSING_DEADLINE_SECONDS: Final = 30.0
"""What a call without a deadline gets."""

ACCEPT_SECONDS: Final = 0.1
"""A request that takes longer, or a quarter of the time that its caller gave, is told that it was accepted."""

_WEYL: Final = 0x9E3779B97F4A7C15
_NONCE_BITS: Final = 0xFFFFFFFFFFFFFFFF
_INTERNAL_KEYS: Final = frozenset({keys.TRAFFIC, keys.EPOCH, keys.COHORT, keys.CALLER})


class Tag(NamedTuple):
    """What the device's batches know of a request."""

    place: Place
    span: RequestSpan | None


@dataclass(slots=True)
class Activity:
    """What a process is doing.

    Attributes:
        in_flight: requests that are being answered.
        open_calls: calls that have been let in and not yet ended, those included whose answer is on its way.
        latest: when the latest request came or left, by the monotonic clock.
        closing: no more requests are taken.
    """

    in_flight: int = 0
    open_calls: int = 0
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
        outputs = manifest.signature.outputs
        self._one_number = outputs[0] if manifest.task is Task.REGRESSION and outputs[0].width == 1 else None
        self._nonce = secrets.randbits(64)
        self._runner: Runner

    def attach(self, runner: Runner) -> None:
        """Sets what runs the requests; it needs `on_batch` of this object."""
        self._runner = runner

    def on_batch(self, record: BatchRecord, tags: Sequence[object]) -> object:
        """Counts a batch that ran, and traces it when one of its requests is traced."""
        traffic, traced = None, []
        for tag in tags:
            assert isinstance(tag, Tag)  # noqa: S101 - for the type checker: the runner hands back what it was given
            if traffic is None or tag.place.traffic is self.key.traffic:
                traffic = tag.place.traffic
            if tag.span is not None:
                traced.append(tag.span)
        self._counting.batch(traffic or self.key.traffic, record.rows, record.seconds)
        return self._spans.batch(record, traced) if traced else None

    async def predict(self, body: bytes, context: "aio.ServicerContext[bytes, bytes]") -> bytes:
        """Predict, alike under both services' names."""
        begun = self._clock.monotonic()
        self.activity.open_calls += 1
        context.add_done_callback(self._call_ended)  # type: ignore[arg-type] # the stubs leave out its argument
        request = parse_request(body)
        metadata = {key: str(value) for key, value in current_metadata()}
        if metadata.keys() & _INTERNAL_KEYS and Role.ROUTER not in current_principal().roles:
            metadata = {key: value for key, value in metadata.items() if key not in _INTERNAL_KEYS}
        place = self._lanes.place(metadata, self._clock.now())
        self._check_live(request, place)
        inputs = self._reader.read(request)
        wanted = self._writer.wanted(request)
        span = self._spans.request(metadata, self.key, place) if self._spans.enabled else None
        outcome = "ok"
        self.activity.in_flight += 1
        acceptance = Acceptance(context)
        try:
            answer = await self._run(inputs, Tag(place, span), begun, context.time_remaining(), acceptance)
            return self._written(request, answer, inputs.rows, wanted, place)
        except CrossfadeError as error:
            outcome = statuses.code_of(error).name
            acceptance.begin()
            await acceptance.finish()
            raise
        except asyncio.CancelledError:
            # grpc cancels the handler at the caller's deadline as well as when the caller gives up.
            remaining = context.time_remaining()
            late = remaining is not None and remaining <= 0
            outcome = (grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED).name
            raise
        except Exception:
            outcome = grpc.StatusCode.INTERNAL.name
            acceptance.begin()
            await acceptance.finish()
            raise
        finally:
            ended = self._clock.monotonic()
            self.activity.in_flight -= 1
            self.activity.latest = ended
            self._counting.call(place.traffic, place.segment, outcome, place.epoch, ended - begun)
            if span is not None:
                span.end(outcome)

    async def _run(
        self, inputs: Inputs, tag: Tag, begun: float, remaining: float | None, acceptance: Acceptance
    ) -> Answer:
        self._counting.inputs(tag.place.traffic, inputs.arrays)
        answer = None
        if self.activity.open_calls <= 1:
            answer = self._runner.run_alone(inputs.arrays, inputs.rows, tag)
        if answer is None:
            answer = await self._queue(inputs, tag, begun, remaining, acceptance)
        self._counting.queued(tag.place.traffic, answer.queue_seconds)
        if tag.span is not None:
            tag.span.waited(answer)
        if not answer.finite:
            raise InternalError(
                "OUTPUT_NOT_FINITE", f"{self.key.model} {self.key.version} answered with NaN or an infinity"
            )
        return answer

    async def _queue(
        self, inputs: Inputs, tag: Tag, begun: float, remaining: float | None, acceptance: Acceptance
    ) -> Answer:
        left = MISSING_DEADLINE_SECONDS if remaining is None else remaining
        ticket, future = self._runner.submit(inputs.arrays, inputs.rows, begun + left, tag)
        loop = asyncio.get_running_loop()
        timers = [loop.call_later(min(ACCEPT_SECONDS, left / 4), acceptance.begin)]
        if remaining is None:
            # The caller's deadline cancels this call; a call without one is ended here.
            timers.append(loop.call_later(left, self._runner.expire, ticket))
        try:
            answer = await future
        except asyncio.CancelledError:
            self._runner.cancel(ticket)
            raise
        finally:
            for timer in timers:
                timer.cancel()
        await acceptance.finish()
        return answer

    def _call_ended(self, _: "aio.ServicerContext[bytes, bytes]") -> None:
        self.activity.open_calls -= 1

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
        # Those rows that the token states, and that labels may therefore come for: coverage is their share.
        classes = answer.classes[:MAX_ROWS] or (NO_CLASS,) * min(rows, MAX_ROWS)
        self._counting.predicted(place.traffic, place.segment, place.epoch, place.slice_number, classes, place.caller)
        token = ""
        if self._tokens is not None:
            # Distinct for 2^64 predictions (a Weyl sequence); what authenticates a token is its key.
            self._nonce = (self._nonce + _WEYL) & _NONCE_BITS
            prediction = Prediction(
                nonce=self._nonce,
                time_ms=int(self._clock.now() * 1000),
                epoch=place.epoch,
                slice=place.slice_number,
                traffic=place.traffic_number,
                model=self.key.model,
                version=self.key.version,
                segment=place.segment,
                classes=tuple(classes),
                numbers=self._numbers(answer),
                cohort=place.cohort,
                caller=place.caller,
            )
            token = self._tokens.sign(prediction)
        return self._writer.write(rows, wanted, answer.outputs, request.id, token)

    def _numbers(self, answer: Answer) -> tuple[float, ...]:
        """What a regression with one number per row has predicted, for the rows that take labels."""
        if self._one_number is None:
            return ()
        numbers = to_numbers(self._one_number.dtype, answer.outputs[0].reshape(-1)[:MAX_ROWS])
        return tuple(numbers.astype("float32").tolist())

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
