"""RegistryService: proto to domain and back, and nothing else."""

from dataclasses import dataclass
from typing import Final

import grpc
import structlog
from grpc import aio
from opentelemetry import trace

from crossfade.registry.v1 import service_pb2, service_pb2_grpc
from registry.service.history import HistoryService
from registry.service.instances import InstanceService
from registry.service.lane_actions import LaneService
from registry.service.looks import LookService
from registry.service.models import ModelService
from registry.service.monitors import MonitorService
from registry.service.rollouts import RolloutService
from registry.service.segments import SegmentService
from registry.service.versions import VersionService
from registry.service.webhooks import WebhookService
from registry.servicer.calls import Calls
from registry.servicer.catalog import CatalogServicer
from registry.servicer.fleet import FleetServicer
from registry.servicer.lanes import LaneServicer
from registry.servicer.monitors import MonitorServicer
from registry.servicer.rollouts import RolloutServicer
from registry.servicer.spans import Spans
from registry.servicer.webhooks import WebhookServicer
from registry.watch_hub import WatchHub

_SERVICE: Final = service_pb2.DESCRIPTOR.services_by_name["RegistryService"].full_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the RPCs ask, a service for each kind of thing."""

    models: ModelService
    versions: VersionService
    history: HistoryService
    lanes: LaneService
    segments: SegmentService
    rollouts: RolloutService
    looks: LookService
    instances: InstanceService
    monitors: MonitorService
    webhooks: WebhookService


class RegistryServicer(CatalogServicer, LaneServicer, RolloutServicer, FleetServicer, MonitorServicer, WebhookServicer):
    """Every RPC of the Registry."""

    def __init__(
        self,
        calls: Calls,
        services: Services,
        *,
        hub: WatchHub,
        tracer: trace.Tracer,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        spans = Spans(tracer)
        CatalogServicer.__init__(self, calls, services.models, services.versions, services.history, spans)
        LaneServicer.__init__(self, calls, services.lanes, services.segments, spans)
        RolloutServicer.__init__(self, calls, services.rollouts, spans)
        FleetServicer.__init__(self, calls, services.instances, services.looks, hub)
        MonitorServicer.__init__(self, calls, services.monitors)
        WebhookServicer.__init__(self, calls, services.webhooks, log)

    def register(self, server: aio.Server) -> None:
        """Adds every RPC to a server. WatchRoutes answers in bytes: its handler goes first, so that it is the one."""
        watch: grpc.RpcMethodHandler[service_pb2.WatchRoutesRequest, bytes] = grpc.unary_stream_rpc_method_handler(
            self.WatchRoutes, request_deserializer=service_pb2.WatchRoutesRequest.FromString
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {"WatchRoutes": watch}),))
        service_pb2_grpc.add_RegistryServiceServicer_to_server(self, server)
