"""Looks at every lane without a rollout, again and again; each look can be lost without harm."""

import asyncio
import random
from typing import Final

import structlog

from evaluator.monitor.service import MOST_APART, Monitor
from evaluator.ports import EndedError, Lanes, LaneView, RefusedError, SupersededError, UnreachableError
from services.common.clock import Clock
from services.common.rarely import Rarely

_AT_ONCE: Final = 8
_POLLS_PER_INTERVAL: Final = 4
_LONGEST_POLL: Final = 15.0


class MonitorLoop:
    """Every lane in turn, a few at a time, in an order that differs each time: of two Evaluators each looks at half.

    Args:
        registry: names the lanes.
        monitor: looks at one.
        clock: for how long it takes to look at all.
        log: a line where a look fails, and where there are too many lanes.
        interval: seconds between two looks at a lane; 0: lanes are not watched.
    """

    def __init__(
        self,
        registry: Lanes,
        monitor: Monitor,
        *,
        clock: Clock,
        log: structlog.typing.FilteringBoundLogger,
        interval: float,
    ) -> None:
        self._registry = registry
        self._monitor = monitor
        self._clock = clock
        self._log = log
        self._rarely = Rarely(clock.monotonic)
        self._interval = interval

    async def run(self) -> None:
        """Looks until it is cancelled."""
        while self._interval:
            await self.poll()
            await asyncio.sleep(min(self._interval / _POLLS_PER_INTERVAL, _LONGEST_POLL))

    async def poll(self) -> None:
        """Looks at every lane for which a look is due."""
        try:
            lanes = await self._registry.lanes()
        except (UnreachableError, EndedError, RefusedError, SupersededError):
            # The loop over rollouts says so already.
            return
        except Exception as error:  # noqa: BLE001 - whatever one answer holds, the looks must go on
            self._log.error("the lanes cannot be read", exc_info=error)
            return
        self._monitor.keep((model, lane.segment) for model, lane in lanes)
        begin = self._clock.monotonic()
        limit = asyncio.Semaphore(_AT_ONCE)

        async def look(model: str, lane: LaneView) -> None:
            async with limit:
                await self._look(model, lane)

        await asyncio.gather(*(look(model, lane) for model, lane in random.sample(lanes, len(lanes))))
        self._say_late(len(lanes), self._clock.monotonic() - begin)

    def _say_late(self, lanes: int, seconds: float) -> None:
        """Warns when looks are so far apart that what was counted between two of them is left out, or soon will be."""
        if seconds > (MOST_APART - 1) * self._interval and self._rarely.due("late") is not None:
            self._log.warning(
                "the lanes cannot be watched as often as they should be",
                lanes=lanes,
                seconds=round(seconds, 1),
                advice=f"to look at all of them took longer than {MOST_APART - 1:g} times CROSSFADE_MONITOR_SECONDS "
                f"({self._interval:g}), and of a lane whose looks are {MOST_APART:g} times as far apart nothing is "
                "concluded: start one more Evaluator, or look less often",
            )

    async def _look(self, model: str, lane: LaneView) -> None:
        try:
            await self._monitor.look(model, lane)
        except SupersededError as error:
            self._log.debug("somebody else was faster", model=model, segment=lane.segment, reason=str(error))
        except (UnreachableError, EndedError) as error:
            self._log.debug("a look at a lane came to nothing", model=model, segment=lane.segment, reason=str(error))
        except Exception as error:  # noqa: BLE001 - whatever one lane holds, the others must be looked at
            self._log.error("a lane cannot be watched", model=model, segment=lane.segment, exc_info=error)
