"""Tells the Router that keeps a prediction's labels what the test version answered to the same request.

A label says then which of both versions was right (McNemar's pairs). Nothing waits for it: notes that cannot be
delivered are dropped, and their labels count as those that met no pair.
"""

import asyncio
from collections import defaultdict
from typing import Final

from grpc import aio

from crossfade.router.v1 import router_pb2, router_pb2_grpc
from router.peers import FORWARD_SECONDS, Peers
from services.common.feedback import FeedbackBook

MOST_WAITING: Final = 1_000
"""Notes that wait for one Router, and the most that one request may hold."""
_FLUSH_SECONDS: Final = 0.25


class PairNotes:
    """Notes of mirrored requests.

    Args:
        peers: which Router keeps a prediction's labels.
        book: where this one keeps its own.
    """

    def __init__(self, peers: Peers, book: FeedbackBook) -> None:
        self._peers = peers
        self._book = book
        self._waiting: defaultdict[str, list[router_pb2.MirroredPair]] = defaultdict(list)

    @property
    def waiting(self) -> int:
        """Notes that wait for their Routers."""
        return sum(map(len, self._waiting.values()))

    def note(self, stable: str, test: str) -> None:
        """Notes the prediction ids of stable's answer and of the test version's to one request."""
        address = self._peers.address_of(stable)
        if not address:
            self._book.pair(stable, test)
        elif len(self._waiting[address]) < MOST_WAITING:
            self._waiting[address].append(router_pb2.MirroredPair(stable_prediction_id=stable, test_prediction_id=test))

    async def run(self) -> None:
        """Delivers notes until it is cancelled."""
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            waiting, self._waiting = self._waiting, defaultdict(list)
            await asyncio.gather(*(self._send(address, pairs) for address, pairs in waiting.items()))

    async def _send(self, address: str, pairs: list[router_pb2.MirroredPair]) -> None:
        try:
            stub = router_pb2_grpc.RouterServiceStub(self._peers.channel(address))
        except (OSError, ValueError):
            return
        call = stub.NotePairs(router_pb2.NotePairsRequest(pairs=pairs), timeout=FORWARD_SECONDS)
        try:
            await call
        except aio.AioRpcError:
            pass
        finally:
            call.cancel()
