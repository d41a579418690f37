"""Backend traffic: held-out images through Predict at a steady rate, their true digits late through Feedback."""

import asyncio
import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from crossfade.client import Answer, AsyncClient, PredictError
from crossfade.predict.v1 import predict_pb2
from examples.digits.data import CLASSES, Images, Labels, drift

_TICK_SECONDS: Final = 0.01
_FEEDBACK_SECONDS: Final = 0.25
_LABEL_LAG_SECONDS: Final = (0.5, 2.0)
_TIMEOUT_SECONDS: Final = 5.0
_SHOWN_FAILURES: Final = 5


@dataclass(slots=True)
class Tally:
    """What became of the Predict calls.

    Attributes:
        sent: calls.
        answered: calls that got an answer, by version.
        failed: calls that got an error.
        labels: labels that were counted.
        failures: the first few errors.
    """

    sent: int = 0
    answered: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    labels: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Calls that got neither an answer nor an error; to be read when the traffic has ended."""
        return self.sent - self.answered.total() - self.failed


class Traffic:
    """Calls a model until it is stopped.

    Args:
        client: calls the Router.
        model: the model's id.
        data: the images [n, 64] that are drawn from, and their digits [n].
        rate: calls per second.
        seed: of the draws.
    """

    def __init__(self, client: AsyncClient, model: str, data: tuple[Images, Labels], rate: float, seed: int) -> None:
        self._client = client
        self._model = model
        self._images, self._labels = data
        self._rate = rate
        self._rng = np.random.default_rng(seed)
        self._shifted = drift(self._images, "shift", np.random.default_rng(seed + 1))
        self._due: list[tuple[float, int, str, str]] = []
        self._calls: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self.drifting = False
        """True: the camera is knocked; every caller sends shifted images."""
        self.tally = Tally()

    async def run(self) -> None:
        """Sends calls and labels until `stop`, then waits for the calls in flight."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        labelling = asyncio.create_task(self._label())
        while not self._stopping.is_set():
            # Calls that a busy machine delayed are sent late, not left out.
            due = int((loop.time() - started) * self._rate) - self.tally.sent
            for _ in range(due):
                self._begin()
            await asyncio.sleep(_TICK_SECONDS)
        if self._calls:
            await asyncio.wait(self._calls, timeout=2 * _TIMEOUT_SECONDS)
        await labelling

    def stop(self) -> None:
        """Lets `run` end."""
        self._stopping.set()

    def _begin(self) -> None:
        self.tally.sent += 1
        row = int(self._rng.integers(len(self._images)))
        lag = float(self._rng.uniform(*_LABEL_LAG_SECONDS))
        task = asyncio.create_task(self._call(row, lag))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _call(self, row: int, lag: float) -> None:
        images = self._shifted if self.drifting else self._images
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            answer = await self._client.predict(self._model, images[row : row + 1], timeout=_TIMEOUT_SECONDS)
        except PredictError as error:
            self.tally.failed += 1
            if len(self.tally.failures) < _SHOWN_FAILURES:
                self.tally.failures.append(f"after {loop.time() - began:.2f} s: {error}")
            return
        self.tally.answered[answer.version] += 1
        self._remember(answer, row, lag)

    def _remember(self, answer: Answer, row: int, lag: float) -> None:
        due = asyncio.get_running_loop().time() + lag
        label = CLASSES[int(self._labels[row])]
        heapq.heappush(self._due, (due, self.tally.sent, answer.prediction_id, label))

    async def _label(self) -> None:
        while not self._stopping.is_set():
            await asyncio.sleep(_FEEDBACK_SECONDS)
            now = asyncio.get_running_loop().time()
            ready = []
            while self._due and self._due[0][0] <= now:
                _, _, prediction_id, label = heapq.heappop(self._due)
                ready.append(predict_pb2.Observation(prediction_id=prediction_id, row=0, label=label))
            if ready:
                try:
                    summary = await self._client.report(ready)
                except PredictError:
                    # Labels that do not arrive hold a rollout; they are no failed prediction.
                    continue
                self.tally.labels += summary.accepted
