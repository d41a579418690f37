"""RouterService: what a Router knows, told to people and to other services."""

from __future__ import annotations

from typing import Any

from grpc import aio

from crossfade.common.v1 import model_pb2
from crossfade.router.v1 import router_pb2, router_pb2_grpc
from router.noted_traces import NotedTraces
from router.pair_notes import MOST_WAITING
from router.proxy import Proxy
from router.routing import Route
from router.split import ArmName
from services.common.errors import InvalidArgumentError
from services.common.feedback import FeedbackBook
from services.common.guard import current_principal
from services.common.identity import SEE_PROCESSES, require_one
from services.common.mirrored_pairs import TRAFFIC_NAMES
from services.common.text import shown

_Context = aio.ServicerContext


class RouterServicer(router_pb2_grpc.RouterServiceServicer):
    """RouterService: explains routes.

    Args:
        proxy: routes.
        noted: traces of versions under test.
        book: labels, and the pairs that they are to meet.
    """

    def __init__(self, proxy: Proxy, noted: NotedTraces, book: FeedbackBook) -> None:
        self._proxy = proxy
        self._noted = noted
        self._book = book

    async def NotePairs(  # noqa: N802 - the method's name in the contract
        self, request: router_pb2.NotePairsRequest, context: _Context[Any, Any]
    ) -> router_pb2.NotePairsResponse:
        """What the test version answered to mirrored requests whose labels this Router keeps."""
        del context
        if len(request.pairs) > MOST_WAITING:
            raise InvalidArgumentError(
                "FIELD_INVALID",
                f"{len(request.pairs)} pairs are too many: send at most {MOST_WAITING:,} in a request",
                field="pairs",
            )
        for pair in request.pairs:
            self._book.pair(pair.stable_prediction_id, pair.test_prediction_id)
        return router_pb2.NotePairsResponse()

    async def ListTraces(  # noqa: N802 - the method's name in the contract
        self, request: router_pb2.ListTracesRequest, context: _Context[Any, Any]
    ) -> router_pb2.ListTracesResponse:
        """A few of the latest traces of a version under test."""
        del context
        found = self._noted.of(request.model, request.segment, request.version)
        return router_pb2.ListTracesResponse(trace_ids=found)

    async def GetRoute(  # noqa: N802 - the method's name in the contract
        self, request: router_pb2.GetRouteRequest, context: _Context[Any, Any]
    ) -> router_pb2.GetRouteResponse:
        """Which version a request would get, and why."""
        del context
        if not request.model:
            raise InvalidArgumentError("FIELD_INVALID", "the request names no model: set model", field="model")
        await self._proxy.first_table()
        asking = current_principal()
        if request.version:
            require_one(asking, SEE_PROCESSES, "ask for the route of a pinned request")
        route = self._proxy.route(request.model, request.segment, request.key, request.version)
        return router_pb2.GetRouteResponse(
            version=route.target.version,
            traffic=model_pb2.Traffic.ValueType(TRAFFIC_NAMES.index(route.target.traffic)),
            bucket=route.bucket,
            epoch=route.lane.epoch,
            revision=self._proxy.table.revision,
            addresses=() if asking.roles.isdisjoint(SEE_PROCESSES) else route.target.addresses,
            reason=_explain(route, request, own=(request.model, request.segment) in self._proxy.table.lanes),
        )


def _explain(route: Route, request: router_pb2.GetRouteRequest, *, own: bool) -> str:
    """Why the request has this route; `own`: its segment has a lane, which may have nothing to answer with."""
    if route.arm is None:
        return f"the request pins {request.version}"
    split = route.lane.split
    if request.key and route.lane.sticky:
        drawn = f"the key's bucket is {route.bucket}"
    elif request.key:
        drawn = f"bucket {route.bucket} was drawn, since the lane assigns by request and not by key"
    else:
        drawn = f"bucket {route.bucket} was drawn"
    if request.segment and not route.lane.segment:
        lacks = "nothing stable in its lane" if own else "no lane of its own"
        drawn = f"the segment {shown(request.segment)} has {lacks}; {drawn}"
    if split.test == 0 and split.control == 0:
        return f"{drawn}; stable has all buckets"
    ranges = {
        ArmName.TEST: (split.offset, split.test),
        ArmName.CONTROL: (split.offset + split.test, split.control),
        ArmName.STABLE: (split.offset + split.test + split.control, 10_000 - split.test - split.control),
    }
    owner = split.arm(route.bucket)
    begin, size = ranges[owner]
    instead = "" if owner is route.arm else f" and no process, so {route.arm} has it"
    copy = ""
    if route.lane.shadow is not None and owner is ArmName.CONTROL:
        copy = f", and {route.lane.shadow.version} gets a copy"
    return f"{drawn}; {owner} has the {size} buckets from {begin % 10_000} on{instead}{copy}"
