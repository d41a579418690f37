"""RegistryService: proto to domain and back, and nothing else."""

from opentelemetry import trace

from registry.service_instances import InstanceService
from registry.service_looks import LookService
from registry.service_models import ModelService
from registry.service_rollouts import RolloutService
from registry.service_versions import VersionService
from registry.servicer_base import Calls
from registry.servicer_catalog import CatalogServicer
from registry.servicer_fleet import FleetServicer
from registry.servicer_rollouts import RolloutServicer
from registry.watch_hub import WatchHub


class RegistryServicer(CatalogServicer, RolloutServicer, FleetServicer):
    """Every RPC of the Registry."""

    def __init__(
        self,
        calls: Calls,
        *,
        models: ModelService,
        versions: VersionService,
        rollouts: RolloutService,
        looks: LookService,
        instances: InstanceService,
        hub: WatchHub,
        tracer: trace.Tracer,
    ) -> None:
        CatalogServicer.__init__(self, calls, models, versions)
        RolloutServicer.__init__(self, calls, rollouts, tracer)
        FleetServicer.__init__(self, calls, instances, looks, hub)
