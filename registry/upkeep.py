"""What has to be done from time to time, by any replica and as often as one likes: expiry, forgetting, compaction."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import structlog

from registry.offload import Offload
from registry.service.instances import InstanceService
from registry.service.lane_actions import LaneService
from registry.service.retention import RetentionService
from registry.service.undisturbed import Undisturbed
from services.common.clock import Clock
from services.common.errors import AbortedError, CrossfadeError, DeadlineExceededError, UnavailableError
from services.common.text import fitting

_DEADLINE_SECONDS: Final = 20.0
_SILENT_SECONDS: Final = 30.0
"""The database ends a statement that takes longer, unless it stands still: then nothing ends and nothing fails."""
_SAID_CHARACTERS: Final = 1_000
_FORGET_SECONDS: Final = 60.0
_UNDISTURBED_SECONDS: Final = 3600.0
"""For so long the clocks have gone on before anything is forgotten."""


class Upkeep:
    """Sweeps expired leases, and forgets what is old.

    Args:
        instances: knows which leases expire.
        lanes: knows which versions were loaded for a while.
        retention: knows what is old.
        undisturbed: knows for how long the clocks were not set by which it is.
        offload: runs the transactions.
        clock: the time.
        log: gets a line when the database is lost and found.
        on_database: told after each round whether the database answered, and amid one that it does not.
        sweep_seconds: time between two sweeps.
        silent_seconds: for so long a database that answers may not have done so.
    """

    def __init__(
        self,
        instances: InstanceService,
        lanes: LaneService,
        retention: RetentionService,
        undisturbed: Undisturbed,
        offload: Offload,
        clock: Clock,
        log: structlog.typing.FilteringBoundLogger,
        on_database: Callable[[bool], Awaitable[None]],
        *,
        sweep_seconds: float,
        silent_seconds: float = _SILENT_SECONDS,
    ) -> None:
        self._instances = instances
        self._lanes = lanes
        self._retention = retention
        self._undisturbed = undisturbed
        self._offload = offload
        self._clock = clock
        self._log = log
        self._on_database = on_database
        self._sweep_seconds = sweep_seconds
        self._silent_seconds = silent_seconds
        self._lost = False

    async def run(self) -> None:
        """Sweeps until it is cancelled."""
        while True:
            await asyncio.sleep(self._sweep_seconds)
            await self.once()

    async def run_forgetting(self) -> None:
        """Forgets until it is cancelled: apart, since leases do not wait for it."""
        while True:
            await self.forget()
            await asyncio.sleep(_FORGET_SECONDS)

    async def once(self) -> None:
        """One round of sweeping."""
        deadline = self._clock.monotonic() + _DEADLINE_SECONDS
        try:
            # One is no reason to leave the other out; a cancellation ends both.
            failure = await self._try(partial(self._instances.sweep, deadline=deadline))
            failure = await self._try(partial(self._lanes.expire, deadline=deadline)) or failure
            if failure is not None:
                raise failure
        except AbortedError as error:
            # Others were faster, so the database is there, and so were the leases.
            self._log.debug("upkeep is tried again", reason=error.message)
            self._lost = False
        except (UnavailableError, DeadlineExceededError) as error:
            self._lose(error.message, error.__cause__)
        except CrossfadeError as error:
            # Of one model; the database is there.
            self._log.warning("upkeep is held up", reason=error.message)
            self._lost = False
        else:
            if self._lost:
                self._log.info("upkeep goes on")
            self._lost = False
        await self._on_database(not self._lost)

    async def _try(self, work: Callable[[], object]) -> CrossfadeError | None:
        call = asyncio.create_task(self._offload.call(work))
        try:
            await asyncio.wait((call,), timeout=self._silent_seconds)
            if not call.done():
                self._lose(f"nothing was heard of it for {self._silent_seconds:g} s")
                await self._on_database(False)
            await call
        except CrossfadeError as error:
            return error
        except Exception as error:  # noqa: BLE001 - the rest of the round, and the next one, have nothing to do with it
            self._log.error("something cannot be kept up", exc_info=error)
        finally:
            call.cancel()
        return None

    def _lose(self, reason: str, cause: BaseException | None = None) -> None:
        self._instances.lost_sight()
        if not self._lost:
            # Callers are not told why, and whoever looks after the database has to know.
            said = "" if cause is None else fitting(str(getattr(cause, "orig", cause)), _SAID_CHARACTERS)
            self._log.warning("no upkeep: the database does not answer", reason=reason, said=said)
        self._lost = True

    async def forget(self) -> None:
        """One round of forgetting."""
        deadline = self._clock.monotonic() + _DEADLINE_SECONDS
        sure = self._undisturbed.seconds >= _UNDISTURBED_SECONDS
        forgotten = await self._offload.call(partial(self._retention.forget, deadline=deadline, by_age=sure))
        for error in forgotten.failures:
            if isinstance(error, CrossfadeError):
                self._log.info("less was forgotten than could be; the next round goes on", reason=error.message)
            else:
                self._log.error("something old cannot be forgotten", exc_info=error)
        if forgotten.deliveries:
            self._log.warning(
                "webhooks did not take events in time, and were not told of them", events=forgotten.deliveries
            )
