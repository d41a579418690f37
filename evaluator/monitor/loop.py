"""Looks at every lane without a rollout, again and again; each look can be lost without harm."""

import asyncio
from typing import Final

import structlog

from evaluator.monitor.service import Monitor
from evaluator.ports import EndedError, Lanes, LaneView, RefusedError, SupersededError, UnreachableError

_AT_ONCE: Final = 8
_POLLS_PER_INTERVAL: Final = 4
_LONGEST_POLL: Final = 15.0


class MonitorLoop:
    """Every lane in turn, a few at a time.

    Args:
        registry: names the lanes.
        monitor: looks at one.
        log: a line where a look fails.
        interval: seconds between two looks at a lane; 0: lanes are not watched.
    """

    def __init__(
        self,
        registry: Lanes,
        monitor: Monitor,
        *,
        log: structlog.typing.FilteringBoundLogger,
        interval: float,
    ) -> None:
        self._registry = registry
        self._monitor = monitor
        self._log = log
        self._interval = interval

    async def run(self) -> None:
        """Looks until it is cancelled."""
        while self._interval:
            await self._poll()
            await asyncio.sleep(min(self._interval / _POLLS_PER_INTERVAL, _LONGEST_POLL))

    async def _poll(self) -> None:
        try:
            lanes = await self._registry.lanes()
        except (UnreachableError, EndedError, RefusedError, SupersededError):
            # The loop over rollouts says so already.
            return
        except Exception as error:  # noqa: BLE001 - whatever one answer holds, the looks must go on
            self._log.error("the lanes cannot be read", exc_info=error)
            return
        self._monitor.keep((model, lane.segment) for model, lane in lanes)
        limit = asyncio.Semaphore(_AT_ONCE)

        async def look(model: str, lane: LaneView) -> None:
            async with limit:
                await self._look(model, lane)

        await asyncio.gather(*(look(model, lane) for model, lane in lanes))

    async def _look(self, model: str, lane: LaneView) -> None:
        try:
            await self._monitor.look(model, lane)
        except SupersededError as error:
            self._log.debug("somebody else was faster", model=model, segment=lane.segment, reason=str(error))
        except (UnreachableError, EndedError) as error:
            self._log.debug("a look at a lane came to nothing", model=model, segment=lane.segment, reason=str(error))
        except Exception as error:  # noqa: BLE001 - whatever one lane holds, the others must be looked at
            self._log.error("a lane cannot be watched", model=model, segment=lane.segment, exc_info=error)
