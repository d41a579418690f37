"""Backends that call without end, and report the true label of each row a moment later."""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Sequence
from typing import Final

from benchmarks.many_rollouts.versions import label, rows
from crossfade.answers import PredictError
from crossfade.client import AsyncClient
from crossfade.predict.v1 import predict_pb2

MODEL: Final = "sign"
_TICK: Final = 0.01
_REPORT_SECONDS: Final = 0.25
_LABEL_LAG: Final = 0.5
_TIMEOUT: Final = 10.0
_ROWS: Final = 4_096


class Callers:
    """Calls at a steady rate until they are stopped, in each of the segments in turn.

    Args:
        client: calls the Router.
        rate: calls per second.
    """

    def __init__(self, client: AsyncClient, rate: float) -> None:
        self._client = client
        self._rate = rate
        self._rows = rows(_ROWS, seed=1)
        self._labels = [label(row) for row in self._rows]
        self._due: deque[tuple[float, str, str]] = deque()
        self._calls: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self.segments: Sequence[str] = ("",)
        self.sent = 0
        self.answered: Counter[str] = Counter()
        self.failures: list[str] = []
        self._under_way = "before the first rollout"

    async def run(self) -> None:
        """Calls and reports until `stop`, then waits for the calls in flight."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        reporting = asyncio.create_task(self._report())
        while not self._stopping.is_set():
            for _ in range(int((loop.time() - began) * self._rate) - self.sent):
                task = asyncio.create_task(self._call(self.sent))
                self.sent += 1
                self._calls.add(task)
                task.add_done_callback(self._calls.discard)
            await asyncio.sleep(_TICK)
        if self._calls:
            await asyncio.wait(self._calls)
        await reporting

    def note(self, what: str) -> None:
        """Says what is under way, for those that fail meanwhile."""
        self._under_way = what

    def stop(self) -> None:
        """Lets `run` end."""
        self._stopping.set()

    async def _call(self, number: int) -> None:
        row = number % _ROWS
        segment = self.segments[number % len(self.segments)]
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            asked = self._rows[row : row + 1]
            answer = await self._client.predict(MODEL, asked, segment=segment, timeout=_TIMEOUT)
        except PredictError as error:
            where = f"to {segment or 'the default segment'} after {loop.time() - began:.2f} s, {self._under_way}"
            self.failures.append(f"{where}: {error}")
            return
        self.answered[answer.version] += 1
        self._due.append((loop.time() + _LABEL_LAG, answer.prediction_id, self._labels[row]))

    async def _report(self) -> None:
        while not self._stopping.is_set():
            await asyncio.sleep(_REPORT_SECONDS)
            now, ready = asyncio.get_running_loop().time(), []
            while self._due and self._due[0][0] <= now:
                _, prediction, known = self._due.popleft()
                ready.append(predict_pb2.Observation(prediction_id=prediction, row=0, label=known))
            # A label that is lost holds a rollout; it is no failed call.
            with contextlib.suppress(PredictError):
                await self._client.report(ready)
