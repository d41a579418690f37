"""The further front-ends of a version, as the first one sees them."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from typing import Final

from crossfade.predict.v1 import predict_pb2
from services.common.telemetry.store import Snapshot
from services.worker.front_end.servicer import CountLabels
from services.worker.pipes import messages
from services.worker.pipes.link import Link

_COUNT_SECONDS: Final = 0.5
_MARGIN_SECONDS: Final = 1.0
UNANSWERED_LOOKS: Final = 10
"""A front-end that answers nothing for so many looks in a row hangs."""


class Followers:
    """Front-ends that share the first one's port.

    Args:
        links: to each.
        label: counts the labels that they were sent, for a label counts once whichever of them it reached.
        on_lost: called with the reason when one has ended untold.
        how: says how the so manieth has ended, as the end of a sentence.
    """

    def __init__(
        self,
        links: Sequence[Link],
        label: CountLabels,
        on_lost: Callable[[str], object],
        how: Callable[[int], str] = lambda _: "has ended",
    ) -> None:
        self._links = links
        self._label = label
        self._on_lost = on_lost
        self._how = how
        self._serving = [asyncio.Event() for _ in links]
        self._ending = False
        loop = asyncio.get_running_loop()
        self._hearing = [
            loop.create_task(self._hear(number, link, serving))
            for number, (link, serving) in enumerate(zip(links, self._serving, strict=True))
        ]
        for task in self._hearing:
            task.add_done_callback(self._heard)

    @classmethod
    async def open(
        cls,
        pipes: Sequence[socket.socket],
        label: CountLabels,
        on_lost: Callable[[str], object],
        how: Callable[[int], str] = lambda _: "has ended",
    ) -> "Followers":
        """Speaks with the processes at the other ends of `pipes`."""
        return cls([await Link.open(pipe) for pipe in pipes], label, on_lost, how)

    async def start(self, order: messages.Serve, light: bytes) -> None:
        """Lets them serve, and waits until they do."""
        self.send(order, light)
        for serving in self._serving:
            await serving.wait()

    def send(self, message: messages.Message, binary: bytes = b"") -> None:
        """Sends all of them an order."""
        for link in self._links:
            link.send(message, binary)

    async def counts(self) -> list[Snapshot]:
        """Everything that they have counted; of one that does not answer, what it said last."""
        await asyncio.gather(*(link.counts(_COUNT_SECONDS) for link in self._links))
        return [snapshot for link in self._links for snapshot in link.last_counts or ()]

    def look(self) -> None:
        """Takes one for lost that has answered nothing since many looks; each look asks those that were not heard."""
        for link in self._links:
            unanswered = link.look()
            if unanswered:
                link.send(messages.Count(0))
            if unanswered > UNANSWERED_LOOKS and not self._ending:
                self._on_lost(f"one of its front-ends did not answer {UNANSWERED_LOOKS} times, and was taken to hang")

    async def drain(self, order: messages.Drain) -> None:
        """Returns when all of them have been quiet, or the limit has passed, and they have ended."""
        self._ending = True
        self.send(order)
        await asyncio.gather(*self._hearing)

    async def end(self, limit_seconds: float) -> None:
        """Ends those that have not ended; they may answer what is under way."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_seconds + _MARGIN_SECONDS):
                await self.drain(messages.Drain(0.0, 0.0))

    async def _hear(self, number: int, link: Link, serving: asyncio.Event) -> None:
        async for message, binary in link.reports():
            match message:
                case messages.Serving():
                    serving.set()
                case messages.Labels(asked):
                    await self._answer(link, asked, predict_pb2.FeedbackRequest.FromString(binary))
                case messages.Crashing(text):
                    self._on_lost(text)
        if not self._ending:
            self._on_lost(f"one of its front-ends {self._how(number)}")

    async def _answer(self, link: Link, number: int, request: predict_pb2.FeedbackRequest) -> None:
        answer = (await self._label(request)).SerializeToString()
        try:
            link.send(messages.Labelled(number), answer)
        except ValueError as error:
            # What one caller has sent must end no version.
            link.send(messages.Labelled(number, str(error)))

    def _heard(self, task: asyncio.Task[None]) -> None:
        # Unheard, a front-end would wait for its labels' answers without end.
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_lost(f"what one of its front-ends said could not be handled: {error!r}")
