"""A transport whose Workers answer as a test says."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
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


def fail(code: str, *, begun: bool = True, reason: str = "") -> Behavior:
    """A Worker that fails."""

    async def behave(_: Sent) -> Reply:
        return Reply(code, message="as the test said", begun=begun, reason=reason)

    return behave


def hang() -> Behavior:
    """A Worker that never answers: its attempts end by their timeout."""

    async def behave(sent: Sent) -> Reply:
        await asyncio.sleep(sent.timeout)
        return Reply("DEADLINE_EXCEEDED")

    return behave


class FakeParts:
    """The rest of a stream: so many parts, each its number, and how it ends.

    Attributes:
        read_parts: how many were read.
        left: its reader has left it.
    """

    def __init__(self, parts: int, end: Reply, pause: float = 0.0) -> None:
        self.read_parts = 0
        self.left = False
        self._parts = parts
        self._end = end
        self._pause = pause

    async def read(self) -> bytes | Reply:
        """The next part, or the end."""
        await asyncio.sleep(self._pause)
        if self.read_parts == self._parts:
            return self._end
        self.read_parts += 1
        return str(self.read_parts).encode()

    def cancel(self) -> None:
        """Leaves it."""
        self.left = True


@dataclass
class FakeTransport:
    """Records attempts and answers them by address; what `rests` has of one follows its first part.

    Attributes:
        shunned: the addresses that it is said to shun.
        connected: those that it is said to be connected to again.
        unreached: those that it is said to have no connection to.
        looking: how many wait for one that is back.
    """

    behaviors: dict[str, Behavior] = field(default_factory=dict)
    rests: dict[str, FakeParts] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    cancelled: int = 0
    shunned: set[str] = field(default_factory=set)
    connected: set[str] = field(default_factory=set)
    unreached: set[str] = field(default_factory=set)
    looking: int = 0

    def pick(self, addresses: tuple[str, ...], avoid: str = "") -> str:
        """The first address that is not to be avoided."""
        return next((address for address in addresses if address != avoid), addresses[0])

    def reaches(self, address: str) -> bool:
        """Whether the test has not said otherwise."""
        return address not in self.unreached

    def shuns(self, address: str) -> bool:
        """Whether the test says so."""
        return address in self.shunned

    async def arrival(self, awaited: str, others: Collection[str]) -> str:
        """Looks until the test says that one of the others is connected."""
        self.looking += 1
        try:
            while True:
                found = self.connected.intersection(others)
                if found and awaited not in self.connected:
                    return min(found)
                await asyncio.sleep(0.01)
        finally:
            self.looking -= 1

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

    async def open(self, address: str, body: bytes, metadata: Metadata, timeout: float, *, wait: bool) -> Reply:
        """Begins as the address's behavior does."""
        reply = await self.send(address, body, metadata, timeout, wait=wait)
        if not reply.ok:
            return reply
        return reply._replace(rest=self.rests.setdefault(address, FakeParts(2, Reply("OK", begun=True))))
