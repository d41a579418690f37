"""Watches of the routes that are resumed wherever they broke, and what came by them."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any, Final

import grpc

from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.checker.tables import Lane

Routes = dict[Lane, resources_pb2.LaneRoutes]
_BREAKS: Final = 150
"""One message in so many is the last that it reads of a watch."""
_BEGINS: Final = 5
"""One watch in so many begins anew."""


def in_force(routes: Routes, changes: Routes) -> Routes:
    """The routes after changes."""
    return {lane: one for lane, one in (routes | changes).items() if not one.removed}


class Watcher:
    """One watcher.

    Args:
        number: its number, which seeds what it does.
        stubs: of the replicas.
        seed: of the run.

    Attributes:
        revision: where it stands.
        lanes: the routes in force, as far as it knows.
        changes: what came by each revision.
        begun: the revisions with which it began, and all routes then.
        resumed: how often it went on where it had stopped.
        found: what was against the rules.
    """

    def __init__(self, number: int, stubs: Sequence[Any], seed: int) -> None:
        self._name = f"watcher {number}"
        self._stubs = stubs
        self._rng = random.Random(f"{seed}/watcher/{number}")
        self._mark = ""
        self._seen = 0
        self._parts: list[resources_pb2.LaneRoutes] = []
        self.revision = 0
        self.lanes: Routes = {}
        self.changes: dict[int, Routes] = {}
        self.begun: list[tuple[int, Routes]] = []
        self.resumed = 0
        self.found: list[str] = []

    async def run(self) -> None:
        """Watches until it is cancelled."""
        while True:
            stub = self._rng.choice(self._stubs)
            if self._one_in(_BEGINS):
                self.revision, self._mark, self.lanes = 0, "", {}
            self.resumed += self.revision > 0
            self._parts = []
            call = stub.WatchRoutes(service_pb2.WatchRoutesRequest(start_revision=self.revision, start_mark=self._mark))
            try:
                while not self._one_in(_BREAKS):
                    message = await call.read()
                    assert isinstance(message, service_pb2.WatchRoutesResponse)
                    self.take(message)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    self.found.append(f"{self._name} at revision {self.revision}: {error.details()}")
                await asyncio.sleep(self._rng.uniform(0.05, 0.2))
            finally:
                call.cancel()

    def take(self, message: service_pb2.WatchRoutesResponse) -> None:
        """Holds a message against what it knows, and then knows it."""
        begins = self.revision == 0
        if message.snapshot != (begins and not self._parts):
            self.found.append(f"{self._name} at revision {self.revision} got all lanes: {message.snapshot}")
        if not message.lanes and not message.snapshot:
            if message.revision != self.revision:
                self.found.append(f"{self._name} at {self.revision} got a sign of life of {message.revision}")
            return
        self._parts += message.lanes
        if message.more:
            return
        routes = {(one.model, one.segment): one for one in self._parts}
        if len(routes) != len(self._parts):
            self.found.append(f"{self._name} got a lane twice at revision {message.revision}")
        self._parts = []
        if begins:
            # Nobody is given what the database is past already.
            if message.revision < self._seen:
                self.found.append(f"{self._name} knew {self._seen} and began anew with {message.revision}")
            self.begun.append((message.revision, routes))
        elif message.revision != self.revision + 1:
            self.found.append(f"{self._name} got revision {message.revision} after {self.revision}")
        else:
            known = self.changes.setdefault(message.revision, routes)
            if known != routes:
                self.found.append(f"{self._name} got revision {message.revision} twice, and otherwise")
        self.lanes = in_force(self.lanes, routes)
        self.revision, self._mark = message.revision, message.mark
        self._seen = max(self._seen, self.revision)

    async def until(self, revision: int, seconds: float) -> None:
        """Waits until it is there; what it lacks then is missing."""
        try:
            async with asyncio.timeout(seconds):
                while self.revision < revision:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            self.found.append(f"{self._name} stays at revision {self.revision}, and the routes are at {revision}")

    def __str__(self) -> str:
        return self._name

    def _one_in(self, number: int) -> bool:
        return self._rng.randrange(number) == 0
