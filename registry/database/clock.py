"""The time that is written down: the database's, since replicas' own clocks may be minutes apart."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog
from sqlalchemy import Engine, func, select

from registry.database.failures import DATABASE_ERRORS
from registry.offload import Offload
from services.common.clock import Clock

_READINGS: Final = 3
"""The answer that took the shortest time is the nearest to the truth."""
_PAUSE_SECONDS: Final = 10.0
_TOLD_SECONDS: Final = 5.0
"""A machine whose clock differs by more is worth a line."""


class DatabaseClock:
    """The database's time, kept by the machine's monotonic clock between two looks at it.

    Until the first look it is the machine's own.

    Args:
        read: asks the database for its time, in seconds since 1970-01-01 UTC.
        machine: measures, and is compared.
    """

    def __init__(self, read: Callable[[], float], machine: Clock) -> None:
        self._read = read
        self._machine = machine
        self.monotonic = machine.monotonic
        self._since = machine.now() - machine.monotonic()

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return self._since + self._machine.monotonic()

    @property
    def ahead(self) -> float:
        """Seconds by which the machine's own clock is ahead of it."""
        return round(self._machine.now() - self.now(), 3)

    def set(self) -> None:
        """Takes the time from the database.

        Raises:
            SQLAlchemyError, psycopg.Error: it does not answer.
        """
        self._since = min(self._reading() for _ in range(_READINGS))[1]

    def _reading(self) -> tuple[float, float]:
        """How long an answer took, and what its time was when this machine's monotonic clock began, in seconds."""
        asked = self.monotonic()
        said = self._read()
        answered = self.monotonic()
        return answered - asked, said - (asked + answered) / 2.0


def database_time(engine: Engine) -> float:
    """What the database's clock says, in seconds since 1970-01-01 UTC.

    Raises:
        SQLAlchemyError, psycopg.Error: it does not answer.
    """
    with engine.connect() as connection:
        return float(connection.execute(select(func.clock_timestamp())).scalar_one().timestamp())


class ClockKeeper:
    """Sets a clock by the database's from time to time.

    Args:
        clock: is set.
        offload: asks the database.
        log: gets a line when the machine's clock begins to differ much, and when it no longer does.
    """

    def __init__(self, clock: DatabaseClock, offload: Offload, log: structlog.typing.FilteringBoundLogger) -> None:
        self._clock = clock
        self._offload = offload
        self._log = log
        self._told = False

    async def run(self) -> None:
        """Sets it until it is cancelled."""
        while True:
            await asyncio.sleep(_PAUSE_SECONDS)
            # Without the database nothing is written down either.
            await self.once()

    async def once(self) -> bool:
        """Sets it; False: the database does not answer."""
        try:
            await self._offload.call(self._clock.set)
        except DATABASE_ERRORS:
            return False
        ahead = self._clock.ahead
        if (abs(ahead) > _TOLD_SECONDS) is not self._told:
            self._told = not self._told
            if self._told:
                self._log.warning("this machine's clock is not the database's, whose time is used", ahead=ahead)
            else:
                self._log.info("this machine's clock is the database's again", ahead=ahead)
        return True
