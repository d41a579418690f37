"""The first front-end of a version: speaks with the supervisor, watches the engine, and leads further front-ends."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, Final, NoReturn

from crossfade.manifest import Manifest
from crossfade.predict.v1 import predict_pb2
from services.common import feedback_rpc
from services.common.clock import SystemClock
from services.common.feedback import FeedbackBook
from services.common.free_memory import give_back
from services.common.prediction_token import TokenKeys
from services.common.telemetry.logs import make_log
from services.common.telemetry.store import MetricStore, Snapshot, merge
from services.worker.domain import FailureCode
from services.worker.front_end.front_end import FrontEnd
from services.worker.pipes import messages
from services.worker.pipes.forks import Fork
from services.worker.pipes.last_words import say, say_last
from services.worker.pipes.link import Link
from services.worker.process_config import ChildConfig
from services.worker.shared_memory.exchange import Exchange
from services.worker.version.followers import Followers
from services.worker.version.hanging import RunningTime
from services.worker.version.memory import Bound, own_bytes
from services.worker.version.runs_here import runs_here

_LOOK_SECONDS: Final = 1.0
_LOAD_LOOK_SECONDS: Final = 0.2
_LAST_WORDS_SECONDS: Final = 1.0


class Lead:
    """Serves a version from its loading to its end, as its supervisor orders.

    Args:
        config: what is served, where.
        manifest: the version's.
        exchange: shared with the engine.
        engine: its process.
        followers: the further front-ends.
    """

    def __init__(
        self, config: ChildConfig, manifest: Manifest, exchange: Exchange, engine: Fork, followers: Sequence[Fork]
    ) -> None:
        self._config = config
        self._manifest = manifest
        self._exchange = exchange
        self._engine = engine
        self._forks = followers
        self._clock = SystemClock()
        self._log = make_log("crossfade-worker", config.settings.log_level).bind(serving=str(config.key))
        self._store = MetricStore()
        self._memory = Bound.of(config.settings.version_memory_bytes)
        keys = config.credentials.token_keys
        self._book = self._make_book(keys) if keys else None
        self._ended = asyncio.Event()
        self._told: messages.Tell | None = None
        self._oriented = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._hearing: asyncio.Task[None] | None = None
        self._link: Link | None = None
        self._last_words = ""
        self._writer: asyncio.StreamWriter
        self._front_end: FrontEnd
        self._followers: Followers
        self._serving = False
        self._light = b""

    async def run(self, pipe: socket.socket) -> None:
        """Serves until the supervisor, SIGTERM or a crash ends it."""
        reader, self._writer = await asyncio.open_connection(sock=pipe)
        try:
            await self._serve(reader)
        except Exception as error:  # noqa: BLE001 - whatever it was, it is said
            self._log.error("serving failed", exc_info=error)
            self._crash(f"it could not serve: {error!r}")
        finally:
            if self._link is not None:
                self._link.close()

    async def _serve(self, reader: asyncio.StreamReader) -> None:
        self._start(self._follow(reader))
        ready = await self._loaded()
        if ready is None:
            return
        # What it answers is counted under its lanes' epochs: it does not serve before it knows them.
        await self._oriented.wait()
        if self._told is None:
            return
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._ended.set)
        self._followers = await Followers.open(
            [fork.pipe for fork in self._forks], self._label, self._crash, lambda number: self._forks[number].end()
        )
        await self._followers.start(messages.Serve(ready.report.precision, ready.bounds, self._told), self._light)
        self._front_end = FrontEnd(
            self._config,
            self._manifest,
            ready.report.precision,
            self._exchange,
            bounds=ready.bounds,
            store=self._store,
            count_labels=self._label if self._book else None,
            on_lost=lambda: self._start(self._lose_engine()),
            here=runs_here(self._light, self._config, self._manifest, ready.report.precision),
        )
        self._light = b""
        give_back()
        self._serving = True
        # It may have been told again since.
        self._tell(self._told)
        await self._front_end.start()
        self._writer.write(messages.pack(messages.Ready(ready.report)))
        self._start(self._watch())
        self._start(self._watch_followers())
        await self._ended.wait()
        await self._end()

    async def _end(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._followers.end(self._config.settings.drain_seconds))
            group.create_task(self._front_end.stop())
        if not self._writer.is_closing():
            # The last word: what the final requests added to the counts. The engine ends with this process.
            await say_last(self._writer, messages.pack_counts(0, await self._counts()))
        await self._front_end.close_traces()

    async def _loaded(self) -> messages.Ready | None:
        """Waits for the engine to load and verify; None: the version cannot be served."""
        self._link = await Link.open(self._engine.pipe)
        reports = self._link.reports()
        first = asyncio.ensure_future(anext(reports, None))
        while not (excess := self._excess()) and not first.done():
            await asyncio.wait({first}, timeout=_LOAD_LOOK_SECONDS)
        if excess:
            self._engine.end()
            refusal = messages.Failed(FailureCode.LOAD_FAILED, f"while it was loaded {excess}")
        else:
            match await first:
                case messages.Ready() as ready, light:
                    self._light = light
                    self._hearing = asyncio.get_running_loop().create_task(self._hear_engine(reports))
                    return ready
                case messages.Failed() as refusal, _:
                    pass
                case other:
                    self._last_words = _words(other[0] if other else None)
                    await self._lose_engine()
        await say_last(self._writer, messages.pack(refusal))
        return None

    async def _hear_engine(self, reports: AsyncIterator[tuple[messages.Message, bytes]]) -> None:
        """Keeps what the engine says last, until its pipe ends."""
        async for message, _ in reports:
            self._last_words = _words(message)

    def _make_book(self, keys: TokenKeys) -> FeedbackBook:
        key, classes = self._config.key, self._manifest.classes or ()

        def classes_of(model: str, version: str) -> tuple[str, ...] | None:
            return classes if (model, version) == (key.model, key.version) else None

        return FeedbackBook(keys, self._store, self._clock, classes_of)

    async def _label(self, request: predict_pb2.FeedbackRequest) -> predict_pb2.FeedbackResponse:
        assert self._book is not None  # noqa: S101 - for the type checker: without keys nobody asks
        return feedback_rpc.answer(self._book, request)

    async def _follow(self, reader: asyncio.StreamReader) -> None:
        while (frame := await messages.read(reader)) is not None:
            match frame[0]:
                case messages.Tell() as order:
                    self._told = order
                    self._oriented.set()
                    if self._serving:
                        self._tell(order)
                case messages.Count(number) if self._serving:
                    self._start(self._send_counts(number))
                case messages.Drain() as order if self._serving:
                    self._start(self._drain(order))
                case other:
                    self._log.warning("unexpected order", kind=type(other).__name__)
        self._oriented.set()
        self._ended.set()

    def _tell(self, order: messages.Tell) -> None:
        self._followers.send(order)
        self._front_end.tell(order)
        if self._book is not None:
            model = self._config.key.model
            self._book.follow({(model, lane.segment): lane.epoch for lane in order.context.lanes})

    async def _send_counts(self, number: int) -> None:
        say(self._writer, messages.pack_counts(number, await self._counts()))

    async def _counts(self) -> list[Snapshot]:
        """What all front-ends have counted."""
        theirs = await self._followers.counts()
        return merge([*self._front_end.snapshot(), *theirs])

    async def _drain(self, order: messages.Drain) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._followers.drain(order))
            group.create_task(self._front_end.drain(order))
        self._ended.set()

    async def _watch(self) -> None:
        """Ends a version whose program does not come back, or takes more memory than it may."""
        limit = self._config.settings.hang_seconds
        pause = min(_LOOK_SECONDS, limit / 4)
        running = RunningTime(pause, self._clock.monotonic())
        while True:
            await asyncio.sleep(pause)
            if running.look(float(self._exchange.busy_since[0]), self._clock.monotonic()) > limit:
                self._engine.end()
                self._crash(
                    f"a batch ran for more than {limit:g} s (CROSSFADE_HANG_SECONDS), so that its model was taken to "
                    "hang"
                )
            if excess := self._excess():
                self._engine.end()
                self._crash(excess)

    async def _watch_followers(self) -> None:
        """Ends a version one of whose front-ends stands still, and with it its share of the connections."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self._followers.look()

    def _excess(self) -> str:
        """What the engine has taken beyond its memory, as a sentence part; empty: nothing."""
        most, why = self._memory
        try:
            taken = own_bytes(self._engine.pid, most) if most else 0
        except OSError:
            # It is not there any more, which its pipe tells.
            return ""
        if taken <= most:
            return ""
        may = f"it may take {most / 1e6:.0f} MB ({why})"
        return f"its model took {taken / 1e6:.0f} MB of memory; {may}"

    async def _lose_engine(self) -> NoReturn:
        if self._hearing is not None:
            await asyncio.wait({self._hearing}, timeout=_LAST_WORDS_SECONDS)
        ended = self._engine.end()
        cause = f": {self._last_words}" if self._last_words else ""
        self._crash(f"the process that runs its model {ended}{cause}")

    def _crash(self, message: str) -> NoReturn:
        self._log.error("crashing", reason=message)
        say(self._writer, messages.pack(messages.Crashing(message)))
        os._exit(1)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Without its supervisor's orders it must not go on; it is started again.
            self._log.error("order failed", exc_info=error)
            self._crash(f"an order failed: {error!r}")


def _words(message: messages.Message | None) -> str:
    return message.message if isinstance(message, messages.Crashing) else ""
