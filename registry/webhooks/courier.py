"""Delivers what is in the outbox: at least once, each webhook by itself, so that a dead one delays no other."""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

import structlog

from registry.domain.webhooks import REFUSALS, TURN_SECONDS, Turn, Webhook, pause_seconds, refused_seconds
from registry.offload import Offload
from registry.ports import Transaction
from registry.service.webhooks import COUNTED
from registry.webhooks.forms import Request, write
from registry.webhooks.sender import RefusedError, SendError
from services.common.clock import Clock
from services.common.errors import CrossfadeError
from services.common.loops import wait_at_most
from services.common.threads import on_thread

_DEADLINE_SECONDS: Final = 8.0
_LAST_SECONDS: Final = 1.0
"""For a request that is under way at the end: most receivers answer sooner, and would be told twice otherwise."""
_CLOSING_SECONDS: Final = 3.0
"""For that and the transaction after it, which a database that is away would never end."""
MEASURE_SECONDS: Final = 15.0
"""Time between two counts of what is not delivered."""


class Sender(Protocol):
    """Posts requests; blocks while it does, some seconds at most."""

    def post(self, url: str, request: Request) -> None:
        """Raises SendError unless it was taken, RefusedError if it will never be."""


class _ClosedError(Exception):
    """It was closed before a receiver has answered."""


class Courier:
    """Delivers to webhooks.

    Args:
        webhooks: who is told.
        offload: runs the transactions.
        sender: posts.
        clock: the time that is signed, and deadlines.
        log: gets a line when a webhook stops and begins to take what it is sent.
        poll_seconds: time between two looks.
        on_backlog: told by webhook how many events it has yet to be told of.
        uniform: draws pauses.
    """

    def __init__(
        self,
        webhooks: Iterable[Webhook],
        offload: Offload,
        sender: Sender,
        clock: Clock,
        log: structlog.typing.FilteringBoundLogger,
        *,
        poll_seconds: float,
        on_backlog: Callable[[Mapping[str, int]], None] = lambda _: None,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._webhooks = {webhook.name: webhook for webhook in webhooks}
        self._offload = offload
        self._sender = sender
        self._clock = clock
        self._log = log
        self._poll_seconds = poll_seconds
        self._uniform = uniform
        self._on_backlog = on_backlog
        self._failing: set[str] = set()
        self._closing = asyncio.Event()
        self._ended = asyncio.Event()
        self._ended.set()

    async def run(self) -> None:
        """Delivers until it is closed or cancelled."""
        self._ended.clear()
        try:
            await self._run()
        finally:
            self._ended.set()

    async def close(self) -> None:
        """Begins nothing more, and waits a moment for what is under way, so that other replicas go on at once.

        A webhook's turn would be theirs only when it has ended by itself.
        """
        self._closing.set()
        await wait_at_most(_CLOSING_SECONDS, self._ended)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._measure())
            for webhook in self._webhooks.values():
                group.create_task(self._serve(webhook))

    async def _measure(self) -> None:
        while not self._closing.is_set():
            try:
                await self.measure()
            except CrossfadeError as error:
                self._log.debug("undelivered events cannot be counted", reason=error.message)
            await wait_at_most(MEASURE_SECONDS, self._closing)

    async def measure(self) -> None:
        """Counts what is not delivered, up to a bound; also of webhooks that the settings do not name any more."""
        counts = await self._offload.run(lambda tx: tx.outbox.undelivered(COUNTED), deadline=self._deadline())
        self._on_backlog({**dict.fromkeys(self._webhooks, 0), **counts})
        if counts:
            await self._offload.run(lambda tx: _recall(tx, counts), deadline=self._deadline())

    async def _serve(self, webhook: Webhook) -> None:
        while not self._closing.is_set():
            try:
                busy = await self.deliver(webhook)
            except CrossfadeError as error:
                # The database is away or busy; nothing is lost meanwhile.
                self._log.debug("no deliveries", webhook=webhook.name, reason=error.message)
                busy = False
            except Exception as error:  # noqa: BLE001 - what is wrong with one webhook must not stop the others
                self._log.error(
                    "a webhook's deliveries failed and are tried again", webhook=webhook.name, exc_info=error
                )
                busy = False
            if not busy:
                await wait_at_most(self._poll_seconds, self._closing)

    async def deliver(self, webhook: Webhook) -> bool:
        """Tells a webhook what is next; answers whether there was anything."""
        turn = await self._offload.run(
            lambda tx: tx.outbox.take_turn(webhook.name, TURN_SECONDS), deadline=self._deadline()
        )
        if turn is None:
            return False
        try:
            request = write(webhook, turn.delivery, self._clock.now())
            await self._post(webhook, request)
        except RefusedError as error:
            await self._refused(turn, str(error))
        except SendError as error:
            await self._failed(turn, str(error))
        except _ClosedError:
            await self._given_back(turn)
        except Exception as error:
            # A defect, and not to be met by the same event each time.
            await self._failed(turn, f"it could not be sent ({type(error).__name__})")
            raise
        else:
            await self._taken(turn)
        return True

    async def _post(self, webhook: Webhook, request: Request) -> None:
        # A receiver that says nothing keeps neither other webhooks waiting nor the process from ending: what is under
        # way then is left to itself, and told again.
        posting = asyncio.create_task(on_thread(lambda _: self._sender.post(webhook.url, request), "webhook"))
        closing = asyncio.create_task(self._closing.wait())
        try:
            await asyncio.wait((posting, closing), return_when=asyncio.FIRST_COMPLETED)
            if not posting.done():
                await asyncio.wait((posting,), timeout=_LAST_SECONDS)
            if not posting.done():
                raise _ClosedError
            posting.result()
        finally:
            posting.cancel()
            closing.cancel()

    async def _given_back(self, turn: Turn) -> None:
        """The next replica is to tell it; nobody knows how it went."""
        await self._offload.run(lambda tx: tx.outbox.end_turn(turn, failures=turn.failures), deadline=self._deadline())

    async def _taken(self, turn: Turn) -> None:
        def note(tx: Transaction) -> None:
            tx.outbox.remove(turn.delivery)
            tx.outbox.end_turn(turn)

        await self._offload.run(note, deadline=self._deadline())
        name = turn.delivery.webhook
        if name in self._failing:
            self._failing.discard(name)
            self._log.info("a webhook takes deliveries again", webhook=name)

    async def _refused(self, turn: Turn, error: str) -> None:
        """The receiver is there and does not want this event: others go on, and its model's soon do."""
        delivery = turn.delivery.refused_by(error)
        seconds = refused_seconds(delivery.refused, self._uniform)

        def note(tx: Transaction) -> None:
            tx.outbox.postpone(delivery, seconds)
            tx.outbox.end_turn(turn)

        await self._offload.run(note, deadline=self._deadline())
        if delivery.refused == REFUSALS:
            self._log.warning(
                "a webhook refuses an event, for which the later ones of its model do not wait any longer",
                webhook=delivery.webhook,
                model=delivery.model,
                sequence=delivery.sequence,
                error=error,
            )

    async def _failed(self, turn: Turn, error: str) -> None:
        """Whatever it is sent would fare no better: it is asked once in a while, and by another event each time."""
        delivery, failures = turn.delivery.failed(error), turn.failures + 1
        seconds, pause = (pause_seconds(times, self._uniform) for times in (delivery.attempts, failures))

        def note(tx: Transaction) -> None:
            tx.outbox.postpone(delivery, seconds)
            tx.outbox.end_turn(turn, failures=failures, pause=pause)

        name = delivery.webhook
        if name not in self._failing:
            self._failing.add(name)
            self._log.warning("a webhook does not take what it is sent", webhook=name, error=error)
        await self._offload.run(note, deadline=self._deadline())

    def _deadline(self) -> float:
        return self._clock.monotonic() + _DEADLINE_SECONDS


def _recall(tx: Transaction, webhooks: Iterable[str]) -> None:
    for name in webhooks:
        tx.outbox.recall(name)
