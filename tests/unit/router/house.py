"""A proxy on a fake transport, and the lanes that it is given."""

import asyncio
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from router.call import Answer, Call, Reply
from router.meters import Meters
from router.proxy import Proxy
from router.split import ArmName, Split
from router.table import Lane, Table, Target
from services.common.telemetry import catalog
from services.common.telemetry.store import MetricStore
from tests.fakes.clock import RunningClock
from tests.fakes.transport import FakeTransport, Sent, hang

STABLE, TEST, CONTROL = "stable:1", "test:1", "control:1"
SECONDS = 5.0
"""That calls have, unless a test says otherwise."""


def lane(*, test: int = 0, control: int = 0, sticky: bool = False, epoch: int = 3) -> Lane:
    arms = {ArmName.STABLE: Target("v1", "live", (STABLE,))}
    if test:
        arms[ArmName.TEST] = Target("v2", "live", (TEST,))
    if control:
        arms[ArmName.CONTROL] = Target("v1", "control", (CONTROL,))
    return Lane(
        model="churn",
        segment="",
        epoch=epoch,
        sticky=sticky,
        split=Split(0, test, control),
        arms=arms,
        pins={"v1": (STABLE,), "v2": (TEST,), "v0": ()},
        names={"@stable": "v1", "@test": "v2", "@previous": "v0"},
        classes={"v1": ("keep", "churn"), "v2": ("keep", "churn"), "v0": ("keep", "churn")},
    )


class House:
    """A proxy on a fake transport, with real meters, and a clock that a test can move on."""

    def __init__(self, *lanes: Lane, seed: int = 7) -> None:
        self.transport = FakeTransport()
        self.store = MetricStore()
        self.clock = RunningClock()
        self.noted: list[tuple[str, str]] = []
        self.proxy = Proxy(
            self.transport,
            Meters(self.store),
            self.clock,
            random.Random(seed).random,
            lambda stable, test: self.noted.append((stable, test)),
        )
        self.proxy.use(Table(1, {(one.model, one.segment): one for one in lanes}))

    def hurry(self) -> None:
        """Stable is known to be quick: it is asked as well when a test version has not answered within 20 ms."""
        lane = self.proxy.table.lanes["churn", ""]
        for streamed in (False, True):
            patience = self.proxy._attempts.patience(lane, "v1", Call(b"body", 0.0, streamed=streamed))
            for _ in range(64):
                patience.record(0.0)

    async def predict(self, *, seconds: float = SECONDS, key: str = "", pin: str = "", segment: str = "") -> Answer:
        route = self.proxy.route("churn", segment, key, pin)
        call = Call(b"body", self.clock.monotonic() + seconds, cohort=route.cohort, caller=route.caller)
        return await self.proxy.predict(call, route)

    def attempts(self) -> dict[tuple[str, str, str], int]:
        """Charged attempts by (version, traffic, outcome)."""
        found: Counter[tuple[str, str, str]] = Counter()
        for snapshot in self.store.snapshot():
            if snapshot.metric is catalog.ATTEMPT_DURATION:
                _, version, traffic, _, outcome, _ = snapshot.attributes
                found[version, traffic, outcome] += sum(snapshot.counts)
        return dict(found)


def cohorts(house: House) -> dict[tuple[str, str, str], dict[int, int]]:
    """Attempts by (version, traffic, outcome) and cohort."""
    return {
        (one.attributes[1], one.attributes[2], one.attributes[4]): {
            cohort: count for cohort, count in enumerate(one.counts) if count
        }
        for one in house.store.snapshot()
        if one.metric is catalog.COHORT_ATTEMPT
    }


def many(addresses: tuple[str, ...], test: int = 0) -> Lane:
    """A lane whose stable version has several processes."""
    one = lane(test=test)
    return replace(one, arms={**one.arms, ArmName.STABLE: Target("v1", "live", addresses)})


def served_at(*addresses: str, test: int = 0) -> Lane:
    one = lane(test=test)
    arms = {**one.arms, ArmName.STABLE: Target("v1", "live", addresses)}
    return replace(one, arms=arms, pins={**one.pins, "v1": addresses})


async def gone(sent: Sent) -> Reply:
    """A process that has gone for good: whoever waits for it waits in vain."""
    return await hang()(sent) if sent.wait else Reply("UNAVAILABLE")


async def overrun(house: House, call: asyncio.Task[Any]) -> None:
    """The call's deadline passes before the loop comes to it, which then cancels its handler, as grpc does."""
    house.clock.advance(SECONDS)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
