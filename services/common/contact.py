"""When this process last heard the Registry, for its health and its metrics."""

import asyncio
from collections.abc import Callable
from typing import Final

from services.common.clock import Clock

REGISTRY_HEALTH: Final = "crossfade.registry"
"""The service of grpc.health.v1 by which a process says whether it hears the Registry."""
LOST_SECONDS: Final = 30.0
"""The Registry is taken for lost when it was not heard for so long: its watches say something every 10 s."""
TELL_SECONDS: Final = 1.0
"""How often health is brought up to date."""


class Contact:
    """What a process has heard of the Registry.

    Args:
        clock: the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at = self._since = clock.monotonic()
        self._ever = False

    def touch(self) -> None:
        """The Registry was heard."""
        now = self._clock.monotonic()
        if now - self._at >= LOST_SECONDS:
            self._since = now
        self._at = now
        self._ever = True

    @property
    def since(self) -> float:
        """Since when it was never lost, by the monotonic clock; the start, if it was not yet."""
        return self._since

    @property
    def age(self) -> float:
        """Seconds since it was last heard, or since the start when it never was."""
        return self._clock.monotonic() - self._at

    @property
    def heard(self) -> bool:
        """Whether it was heard lately."""
        return self._ever and self.age < LOST_SECONDS


async def tell(set_serving: Callable[..., None], *states: tuple[str, Callable[[], bool]]) -> None:
    """Says in health what holds at the moment, until it is cancelled.

    Args:
        set_serving: of the server; takes whether a service serves, and the service.
        states: services, and whether each serves.
    """
    while True:
        for service, holds in states:
            set_serving(holds(), service)
        await asyncio.sleep(TELL_SECONDS)
