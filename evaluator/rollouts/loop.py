"""Looks at every live rollout, again and again: thin, and each look can be repeated or lost without harm."""

import asyncio
import random
from typing import Final

import structlog

from evaluator.meters import Meters
from evaluator.ports import DeniedError, EndedError, RefusedError, Registry, SupersededError, UnreachableError
from evaluator.rollouts.service import Evaluator
from services.common.clock import Clock
from services.common.contact import Contact
from services.common.loops import wait_at_most

_SOON: Final = 0.2
"""Seconds until a look that somebody else overtook is tried again, spread so that two Evaluators part."""
_AFTER_FAILURE: Final = 2.0


class Loop:
    """One task per live rollout.

    Args:
        registry: names the live rollouts.
        evaluator: looks at one.
        meters: counts looks.
        clock: for how long they take.
        log: gets a line when the Registry is lost and when it is back.
        poll_seconds: time between two questions for live rollouts.
        contact: is told when the Registry answers.
    """

    def __init__(
        self,
        registry: Registry,
        evaluator: Evaluator,
        meters: Meters,
        *,
        clock: Clock,
        log: structlog.typing.FilteringBoundLogger,
        poll_seconds: float,
        contact: Contact,
    ) -> None:
        self._registry = registry
        self._evaluator = evaluator
        self._meters = meters
        self._clock = clock
        self._log = log
        self._poll_seconds = poll_seconds
        self._contact = contact
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._over: dict[str, asyncio.Event] = {}
        self._lost = ""

    @property
    def watched(self) -> int:
        """Rollouts that are looked at."""
        return sum(not over.is_set() for over in self._over.values())

    async def run(self) -> None:
        """Looks until it is cancelled."""
        try:
            while True:
                await self._poll()
                await asyncio.sleep(self._poll_seconds)
        finally:
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._tasks.clear()
            self._over.clear()

    async def _poll(self) -> None:
        try:
            live = {rollout.name for rollout in await self._registry.live_rollouts() if rollout.phase is not None}
        except (UnreachableError, EndedError, RefusedError, SupersededError) as error:
            self._say_lost(error)
            return
        except Exception as error:  # noqa: BLE001 - whatever one answer holds, the looks must go on
            self._log.error("the live rollouts cannot be read", exc_info=error)
            return
        self._contact.touch()
        if self._lost:
            self._log.info("the Registry is back")
        self._lost = ""
        for name in self._tasks.keys() - live:
            # The look under way may be the one that has ended it, and counts what it decided when it hears so.
            self._over[name].set()
        for name in [name for name, task in self._tasks.items() if task.done()]:
            if not self._over[name].is_set():
                # Nothing is meant to end it but us.
                self._log.error("the looks at a rollout had ended; they begin again", rollout=name)
            del self._tasks[name], self._over[name]
        for name in live - self._tasks.keys():
            self._over[name] = over = asyncio.Event()
            self._tasks[name] = asyncio.create_task(self._watch(name, over), name=name)

    def _say_lost(self, error: Exception) -> None:
        """Once, and again when the Registry that was away is back with a refusal, or the other way round."""
        event, more = "the Registry cannot be reached; rollouts stand as they are", {}
        if isinstance(error, DeniedError):
            event = "the Registry refuses this Evaluator; rollouts stand as they are"
            more = {"advice": "the certificate that CROSSFADE_TLS_CERTIFICATE names takes the role evaluator"}
        if event != self._lost:
            self._log.warning(event, reason=str(error), **more)
        self._lost = event

    async def _watch(self, name: str, over: asyncio.Event) -> None:
        try:
            while not over.is_set():
                soon = random.uniform(_SOON / 2, _SOON)  # noqa: S311 - spreads the looks
                wait = await self._look(name) or soon
                await wait_at_most(wait, over)
        finally:
            self._evaluator.forget(name)

    async def _look(self, name: str) -> float:
        begin = self._clock.monotonic()
        outcome, wait = await self._attempt(name)
        self._meters.looked(outcome, self._clock.monotonic() - begin)
        return wait

    async def _attempt(self, name: str) -> tuple[str, float]:
        """What came of a look, and the seconds until the next one."""
        try:
            return "ok", await self._evaluator.look(name)
        except SupersededError as error:
            self._log.debug("somebody else was faster", rollout=name, reason=str(error))
            return "superseded", 0.0
        except EndedError as error:
            self._log.debug("ended", rollout=name, reason=str(error))
            return "ended", _AFTER_FAILURE
        except (UnreachableError, RefusedError) as error:
            self._log.warning("no look", rollout=name, reason=str(error))
            return "unreachable", _AFTER_FAILURE
        except Exception as error:  # noqa: BLE001 - one rollout's failure must not end the looks at all others
            self._log.error("the look failed", rollout=name, exc_info=error)
            return "failed", _AFTER_FAILURE
