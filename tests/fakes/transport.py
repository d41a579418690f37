"""A transport whose Workers answer as a test says."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from router.call import PREDICT, Metadata, Reply


@dataclass
class Sent:
    """One attempt that was made."""

    address: str
    metadata: dict[str, str]
    timeout: float
    wait: bool


Behavior = Callable[[Sent], Awaitable[Reply]]


async def answer(sent: Sent) -> Reply:
    """A Worker that answers with its address."""
    return Reply("OK", sent.address.encode(), begun=True)


def fail(code: str, *, begun: bool = True) -> Behavior:
    """A Worker that fails."""

    async def behave(_: Sent) -> Reply:
        return Reply(code, message="as the test said", begun=begun)

    return behave


def hang() -> Behavior:
    """A Worker that never answers: its attempts end by their timeout."""

    async def behave(sent: Sent) -> Reply:
        await asyncio.sleep(sent.timeout)
        return Reply("DEADLINE_EXCEEDED")

    return behave


@dataclass
class FakeTransport:
    """Records attempts and answers them by address."""

    behaviors: dict[str, Behavior] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    cancelled: int = 0

    def pick(self, addresses: tuple[str, ...], avoid: str = "") -> str:
        """The first address that is not to be avoided."""
        return next((address for address in addresses if address != avoid), addresses[0])

    async def send(
        self, address: str, body: bytes, metadata: Metadata, timeout: float, *, wait: bool, method: str = PREDICT
    ) -> Reply:
        """Answers as the address's behavior does."""
        sent = Sent(address, dict(metadata), timeout, wait)
        self.sent.append(sent)
        try:
            return await self.behaviors.get(address, answer)(sent)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
