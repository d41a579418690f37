"""A rollout is looked at while it is live, and the look that ends it comes to its own end."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from evaluator.meters import Meters
from evaluator.rollouts.loop import Loop
from services.common.clock import SystemClock
from services.common.contact import Contact
from services.common.telemetry.logs import make_log
from services.common.telemetry.store import MetricStore
from tests.support.wait import until

NAME = "models/m/rollouts/1"


@dataclass
class Rollouts:
    """What a Registry says is live."""

    live: bool = True
    asked: int = 0

    async def live_rollouts(self) -> Sequence[Any]:
        self.asked += 1
        return [SimpleNamespace(name=NAME, phase="running")] if self.live else []


@dataclass
class SlowEvaluator:
    """Looks that take as long as the test wants.

    Attributes:
        answered: the Registry's answer to a look has come.
        begun: looks that have begun.
        decided: those that have heard what became of their decision.
        forgotten: after how many decisions the rollout was forgotten.
    """

    answered: asyncio.Event = field(default_factory=asyncio.Event)
    begun: int = 0
    decided: int = 0
    forgotten: list[int] = field(default_factory=list)

    async def look(self, name: str) -> float:
        assert name == NAME
        self.begun += 1
        await self.answered.wait()
        self.decided += 1
        return 600.0

    def forget(self, name: str) -> None:
        assert name == NAME
        self.forgotten.append(self.decided)


def looping(registry: Rollouts, evaluator: SlowEvaluator) -> Loop:
    clock = SystemClock()
    return Loop(
        registry,  # type: ignore[arg-type] # what the loop asks of it
        evaluator,  # type: ignore[arg-type] # likewise
        Meters(MetricStore()),
        clock=clock,
        log=make_log("test", "error"),
        poll_seconds=0.01,
        contact=Contact(clock),
    )


async def test_the_look_that_ends_a_rollout_hears_what_it_has_decided() -> None:
    registry, evaluator = Rollouts(), SlowEvaluator()
    loop = looping(registry, evaluator)
    running = asyncio.create_task(loop.run())
    await until(lambda: evaluator.begun)
    registry.live, asked = False, registry.asked
    await until(lambda: registry.asked >= asked + 3)
    assert (loop.watched, evaluator.forgotten) == (0, [])
    evaluator.answered.set()
    await until(lambda: evaluator.forgotten)
    assert (evaluator.begun, evaluator.decided, evaluator.forgotten) == (1, 1, [1])
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_rollout_that_ends_between_two_looks_is_left_at_once() -> None:
    registry, evaluator = Rollouts(), SlowEvaluator()
    evaluator.answered.set()
    loop = looping(registry, evaluator)
    running = asyncio.create_task(loop.run())
    await until(lambda: evaluator.decided and loop.watched == 1)
    registry.live = False
    await until(lambda: evaluator.forgotten)
    assert (evaluator.begun, loop.watched) == (1, 0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
