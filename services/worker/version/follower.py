"""A further front-end of a version: serves as the first one orders, and has it count labels."""

import asyncio
import gc
import itertools
import os
import socket
from collections.abc import Sequence

import uvloop

from crossfade.manifest import Manifest
from crossfade.predict.v1 import predict_pb2
from services.common.telemetry.store import MetricStore
from services.worker.front_end.front_end import FrontEnd
from services.worker.pipes import messages
from services.worker.pipes.last_words import say, say_last
from services.worker.process_config import ChildConfig
from services.worker.shared_memory.exchange import Exchange, keep_own_side
from services.worker.version.runs_here import runs_here


def main(
    config: ChildConfig, manifest: Manifest, exchanges: Sequence[Exchange], own: Exchange, pipe: socket.socket
) -> None:
    """Serves as it is told over `pipe`."""
    keep_own_side(exchanges, own)
    gc.freeze()
    uvloop.run(_Follower(config, manifest, own).run(pipe))


class _Follower:
    def __init__(self, config: ChildConfig, manifest: Manifest, exchange: Exchange) -> None:
        self._config = config
        self._manifest = manifest
        self._exchange = exchange
        self._numbers = itertools.count(1)
        self._labels: dict[int, asyncio.Future[bytes]] = {}
        self._writer: asyncio.StreamWriter
        self._ending: asyncio.Task[None] | None = None

    async def run(self, pipe: socket.socket) -> None:
        reader, self._writer = await asyncio.open_connection(sock=pipe)
        try:
            await self._follow(reader)
        except Exception as error:
            word = messages.Crashing(f"one of its front-ends could not serve: {error!r}")
            await say_last(self._writer, messages.pack(word))
            raise

    async def _follow(self, reader: asyncio.StreamReader) -> None:
        front_end: FrontEnd | None = None
        while (frame := await messages.read(reader)) is not None:
            message, binary = frame
            match message:
                case messages.Serve(precision, bounds, told):
                    front_end = self._front_end(precision, bounds, binary)
                    front_end.tell(told)
                    await front_end.start()
                    self._writer.write(messages.pack(messages.Serving()))
                case messages.Tell() if front_end:
                    front_end.tell(message)
                case messages.Count(number) if front_end:
                    say(self._writer, messages.pack_counts(number, front_end.snapshot()))
                case messages.Labelled(number, problem):
                    answer = self._labels.pop(number)
                    # Its caller may have given up meanwhile; the label counts all the same.
                    if not answer.done():
                        if problem:
                            answer.set_exception(ValueError(problem))
                        else:
                            answer.set_result(binary)
                case messages.Drain() if front_end:
                    self._end(front_end, message)
        if self._ending is None:
            # The first front-end is gone, and with it the version.
            os._exit(1)
        await self._ending

    def _front_end(self, precision: str, bounds: Sequence[int], light: bytes) -> FrontEnd:
        return FrontEnd(
            self._config,
            self._manifest,
            precision,
            self._exchange,
            bounds=bounds,
            store=MetricStore(),
            count_labels=self._count_labels if self._config.credentials.token_keys else None,
            # The first front-end sees it too, says so, and ends the version.
            on_lost=lambda: None,
            here=runs_here(light, self._config, self._manifest, precision),
        )

    async def _count_labels(self, request: predict_pb2.FeedbackRequest) -> predict_pb2.FeedbackResponse:
        number = next(self._numbers)
        self._writer.write(messages.pack(messages.Labels(number), request.SerializeToString()))
        answer = self._labels[number] = asyncio.get_running_loop().create_future()
        return predict_pb2.FeedbackResponse.FromString(await answer)

    def _end(self, front_end: FrontEnd, order: messages.Drain) -> None:
        async def end() -> None:
            await front_end.drain(order)
            await front_end.stop()
            say(self._writer, messages.pack_counts(0, front_end.snapshot()))
            # Only now: when the pipe ends, so does the first front-end, and this one with it.
            await front_end.close_traces()
            await say_last(self._writer)

        before = self._ending
        if before is not None:
            # Told again, with less patience.
            before.cancel()
        self._ending = asyncio.get_running_loop().create_task(end())
