"""Delivers what is in the outbox: at least once, each webhook by itself, so that a dead one delays no other."""

import asyncio
import random
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, Protocol

import structlog

from registry.domain.webhooks import Delivery, Webhook, pause_seconds
from registry.offload import Offload
from registry.ports import Transaction
from registry.webhooks.forms import Request, write
from registry.webhooks.sender import POST_SECONDS, SendError
from services.common.clock import Clock
from services.common.errors import CrossfadeError

_BATCH: Final = 5
_CLAIM_SECONDS: Final = 90.0
"""What is claimed belongs to one replica for so long: a batch of requests that all take long takes less."""
_DEADLINE_SECONDS: Final = 10.0


class Sender(Protocol):
    """Posts requests; blocks while it does."""

    def post(self, url: str, request: Request) -> None:
        """Raises SendError unless it was taken."""


class Courier:
    """Delivers to webhooks.

    Args:
        webhooks: who is told.
        offload: runs the transactions.
        sender: posts.
        clock: what is due.
        log: gets a line when a webhook stops and begins to take what it is sent.
        poll_seconds: time between two looks.
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
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._webhooks = {webhook.name: webhook for webhook in webhooks}
        self._offload = offload
        self._sender = sender
        self._clock = clock
        self._log = log
        self._poll_seconds = poll_seconds
        self._uniform = uniform
        self._failing: set[str] = set()

    async def run(self) -> None:
        """Delivers until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            for webhook in self._webhooks.values():
                group.create_task(self._serve(webhook))

    async def _serve(self, webhook: Webhook) -> None:
        while True:
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
                await asyncio.sleep(self._poll_seconds)

    async def deliver(self, webhook: Webhook) -> bool:
        """Delivers what is due, a batch at most; answers whether there may be more."""
        now = self._clock.now()
        claimed = await self._offload.run(
            lambda tx: tx.outbox.claim(webhook.name, now, now + _CLAIM_SECONDS, _BATCH), deadline=self._deadline()
        )
        for number, delivery in enumerate(claimed):
            try:
                await self._post(webhook, delivery)
            except SendError as error:
                # The others would fare no better: one that does not answer is asked once in a while, not for each.
                await self._failed(webhook, claimed[number:], str(error))
                return False
            await self._offload.run(partial(_remove, delivery), deadline=self._deadline())
            if webhook.name in self._failing:
                self._failing.discard(webhook.name)
                self._log.info("a webhook takes deliveries again", webhook=webhook.name)
        return len(claimed) == _BATCH

    async def _post(self, webhook: Webhook, delivery: Delivery) -> None:
        request = write(webhook, delivery, self._clock.now())
        try:
            async with asyncio.timeout(POST_SECONDS):
                await asyncio.to_thread(self._sender.post, webhook.url, request)
        except TimeoutError as error:
            raise SendError(f"no whole answer within {POST_SECONDS:g} s") from error

    async def _failed(self, webhook: Webhook, left: list[Delivery], error: str) -> None:
        if webhook.name not in self._failing:
            self._failing.add(webhook.name)
            self._log.warning("a webhook does not take what it is sent", webhook=webhook.name, error=error)
        due = self._clock.now() + pause_seconds(left[0].attempts, self._uniform)
        await self._offload.run(lambda tx: tx.outbox.postpone(left, due, error), deadline=self._deadline())

    def _deadline(self) -> float:
        return self._clock.monotonic() + _DEADLINE_SECONDS


def _remove(delivery: Delivery, tx: Transaction) -> None:
    tx.outbox.remove(delivery)
