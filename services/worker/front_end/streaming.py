"""PredictStream of one version: its steps are ordinary requests before the engine, and this keeps what lies between.

So streams of any length share batches with one another and with plain requests, and a stream holds nothing of the
engine's while its caller reads.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from crossfade.manifest import Manifest
from crossfade.metadata import MAX_PARTS
from crossfade.predict.v1 import predict_pb2
from services.common.clock import Clock
from services.common.errors import (
    DeadlineExceededError,
    InternalError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
)
from services.common.prediction_token import MAX_ROWS, NO_CLASS
from services.common.text import listed
from services.worker.front_end.acceptance import accept_seconds, time_left
from services.worker.front_end.call import Activity, Call
from services.worker.front_end.counting import Counting
from services.worker.front_end.finite_inputs import said_of_row
from services.worker.front_end.overdue import Overdue
from services.worker.front_end.prediction_ids import PredictionIds
from services.worker.front_end.runner import Runner
from services.worker.front_end.stepping import StepPlan, Steps
from services.worker.shared_memory.outputs import OutputWriter
from services.worker.shared_memory.tensors import InputReader, Inputs

_PAUSE_SECONDS: Final = 0.002
_LONGEST_PAUSE_SECONDS: Final = 0.02
"""A stream that has begun tries again so often while the queue is full."""

Write = Callable[[bytes], Awaitable[None]]


class StreamRequest(NamedTuple):
    """What a request asks for.

    Attributes:
        inputs: of the first step.
        outputs: positions of the outputs that each part holds.
        limit: how many parts it is to have at most.
        request_id: the caller's, echoed.
    """

    inputs: Inputs
    outputs: tuple[int, ...]
    limit: int
    request_id: str


class Streams:
    """Answers in parts.

    Args:
        manifest: the version's.
        reader: reads inputs.
        writer: writes parts.
        counting: where predictions are counted.
        ids: makes prediction ids; None: answers have none.
        overdue: tells callers that wait long that their request has begun.
        activity: says when streams are to end.
        clock: deadlines.
    """

    def __init__(
        self,
        manifest: Manifest,
        *,
        reader: InputReader,
        writer: OutputWriter,
        counting: Counting,
        ids: PredictionIds | None,
        overdue: Overdue[Call],
        activity: Activity,
        clock: Clock,
    ) -> None:
        self._signature = manifest.signature
        self._plan = StepPlan.of(manifest)
        self._names = [spec.name for spec in manifest.signature.outputs]
        self._reader = reader
        self._writer = writer
        self._counting = counting
        self._ids = ids
        self._overdue = overdue
        self._activity = activity
        self._clock = clock
        self._rows = 0
        self._runner: Runner

    def attach(self, runner: Runner) -> None:
        """Sets what runs the steps."""
        self._runner = runner

    def read(self, request: predict_pb2.PredictRequest) -> StreamRequest:
        """What a request asks for.

        Raises:
            InvalidArgumentError: the inputs do not fit; OUTPUT_UNKNOWN, no part has such an output; MESSAGE_MALFORMED,
                one is named twice; INPUT_SHAPE, no message could carry a part; MAX_PARTS.
        """
        plan = self._plan
        outputs = self._writer.wanted(request) if request.outputs else plan.parts
        for position, slot in enumerate(outputs):
            if slot not in plan.parts:
                sent = listed([self._names[part] for part in plan.parts])
                raise InvalidArgumentError(
                    "OUTPUT_UNKNOWN",
                    f"output {self._names[slot]!r} stays with the model from step to step; its parts hold {sent}",
                    field=f"outputs[{position}].name",
                )
        inputs = self._reader.read(request)
        self._writer.check(inputs.rows, outputs, request.id)
        return StreamRequest(inputs, outputs, self._limit(request), request.id)

    def _limit(self, request: predict_pb2.PredictRequest) -> int:
        most = self._plan.max_parts
        if MAX_PARTS not in request.parameters:
            return most
        said = request.parameters[MAX_PARTS]
        kind = said.WhichOneof("parameter_choice")
        number = getattr(said, kind) if kind in ("int64_param", "uint64_param") else 0
        if not 1 <= number <= most:
            raise InvalidArgumentError(
                "MAX_PARTS", f"max_parts takes a whole number from 1 to {most}", field=f'parameters["{MAX_PARTS}"]'
            )
        return int(number)

    async def run(self, call: Call, request: StreamRequest, begun: float, write: Write) -> None:
        """Sends part after part, each when the caller has taken the one before.

        Raises:
            CrossfadeError: what Predict raises, and UnavailableError: DRAINING.
        """
        rows = request.inputs.rows
        if self._rows and self._rows + rows > self._runner.exchange.bound:
            raise ResourceExhaustedError(
                "QUEUE_FULL", f"streams of {self._rows} rows are under way, which is as many as may be; send less"
            )
        left, unbounded = time_left(call.acceptance)
        self._rows += rows
        steps = Steps(self._plan, request.inputs, request.limit)
        try:
            self._overdue.add(call, begun + accept_seconds(left))
            async with asyncio.timeout(left if unbounded else None):
                await self._send_all(call, request, steps, begun + left, write)
        except TimeoutError as error:
            raise DeadlineExceededError(
                "DEADLINE_EXCEEDED",
                f"{steps.count} parts came in the {left:g} s that a call without a deadline gets: set one",
            ) from error
        finally:
            self._rows -= rows
            self._overdue.discard(call)

    async def _send_all(self, call: Call, request: StreamRequest, steps: Steps, deadline: float, write: Write) -> None:
        while True:
            await self._step(call, steps, deadline)
            token = self._finish(call, steps) if steps.done else ""
            part = self._writer.write(
                request.inputs.rows, request.outputs, steps.outputs, request.request_id, token, last=steps.done
            )
            await self._write(call, part, write)
            if steps.done:
                return
            if self._activity.ending:
                raise UnavailableError(
                    "DRAINING", f"this process ends, after {steps.count} parts of the answer; send the request again"
                )

    async def _step(self, call: Call, steps: Steps, deadline: float) -> None:
        """Runs one step. A stream that has begun waits for its place in a full queue, as long as its caller does."""
        pause = _PAUSE_SECONDS
        while not await self._try_step(call, steps, deadline):
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _try_step(self, call: Call, steps: Steps, deadline: float) -> bool:
        first, runner = not steps.count, self._runner
        if not (first or runner.fits(steps.rows)):
            return False
        call.request = request = runner.submit(steps.inputs, steps.rows, deadline, call)
        try:
            answer = await request.answer
            call.tally.queued(answer.queue_seconds)
            if call.span is not None:
                call.span.waited(answer)
                # A thousand steps would be a thousand spans: the first one shows how the stream came to its place.
                call.span = None
            if answer.bad_row is not None:
                row = steps.row(answer.bad_row)
                raise InternalError(
                    "OUTPUT_NOT_FINITE",
                    f"step {steps.count + 1} gave NaN or an infinity, as output or as state, in row {row}"
                    f"{said_of_row(self._signature, steps.given, row)}",
                )
            steps.take(answer.outputs, answer.classes)
        except ResourceExhaustedError as error:
            if first or error.reason != "QUEUE_FULL":
                raise
            return False
        finally:
            call.request = None
            runner.release(request)
        return True

    def _finish(self, call: Call, steps: Steps) -> str:
        """Counts the last part as the stream's prediction, and answers its id."""
        rows = len(steps.outputs[0])
        classes = steps.classes[:MAX_ROWS] or (NO_CLASS,) * min(rows, MAX_ROWS)
        # Its slice may have been dropped since it began.
        self._counting.at(call.place).predicted(classes)
        return self._ids.make(call.place, classes, steps.outputs) if self._ids else ""

    async def _write(self, call: Call, part: bytes, write: Write) -> None:
        if not call.parts:
            self._overdue.discard(call)
            await call.acceptance.say()
            call.first_part = self._clock.monotonic()
        call.write_began = began = self._clock.monotonic()
        await write(part)
        call.write_began = None
        call.written_seconds += self._clock.monotonic() - began
        call.parts = (call.parts or 0) + 1
