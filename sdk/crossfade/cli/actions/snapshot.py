"""What `status` shows, gathered from the Registry and the Routers."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from crossfade.cli.connect import Connections
from crossfade.cli.errors import CommandError
from crossfade.cli.registry_client import Registry
from crossfade.cli.render.traffic import METRICS, Reading, Series, decode, lane_figures
from crossfade.cli.render.views import LaneView, ModelView
from crossfade.registry.v1.resources_pb2 import (
    INSTANCE_KIND_ROUTER,
    INSTANCE_KIND_WORKER,
    ROLLOUT_STATE_QUEUED,
    Event,
    Lane,
    Monitor,
    Rollout,
)
from crossfade.registry.v1.service_pb2 import ListEventsRequest, ListRolloutsRequest
from crossfade.telemetry.v1 import telemetry_pb2, telemetry_pb2_grpc

_READ_TIMEOUT = 2.0
_BETWEEN_READINGS = 0.5
_UNDONE = "LANE_UNDONE"
_ENDINGS = ("ROLLOUT_PROMOTED", "ROLLOUT_ROLLED_BACK", "ROLLOUT_INCONCLUSIVE", "ROLLOUT_CANCELLED")


@dataclass(slots=True)
class Gatherer:
    """Gathers views of models; remembers the reading before, for rates.

    Attributes:
        connections: to the services.
        router: a Router's address, for when the Registry knows of none that can be reached.
    """

    connections: Connections
    router: str
    _before: dict[str, Reading] = field(default_factory=dict)

    def view(self, model: str) -> ModelView:
        """A model at this moment.

        Raises:
            CommandError: the Registry does not answer, or does not know the model.
        """
        registry = Registry(self.connections.registry())
        found = registry.model(model)
        instances = tuple(registry.instances())
        routers = [one.address for one in instances if one.kind == INSTANCE_KIND_ROUTER]
        earlier, later = self._readings(model, routers)
        waiting = {
            rollout.segment: rollout
            for rollout in registry.rollouts(model, ListRolloutsRequest(live_only=True))
            if rollout.state == ROLLOUT_STATE_QUEUED
        }
        lanes = tuple(_lane(registry, model, lane, waiting, earlier, later) for lane in found.lanes)
        return ModelView(
            found,
            lanes,
            tuple(one for one in instances if one.kind == INSTANCE_KIND_WORKER),
            next(registry.events(model, limit=1), None),
            time.time(),
            () if later else (_no_router(routers, self.router),),
        )

    def _readings(self, model: str, routers: list[str]) -> tuple[Reading | None, Reading | None]:
        earlier = self._before.get(model) or self._read(model, routers)
        if earlier is None:
            return None, None
        left = _BETWEEN_READINGS - (time.monotonic() - earlier.seconds)
        if left > 0:
            time.sleep(left)
        later = self._read(model, routers)
        if later is None:
            self._before.pop(model, None)
        else:
            self._before[model] = later
        return earlier, later

    def _read(self, model: str, routers: list[str]) -> Reading | None:
        found = {}
        for address in routers:
            series = self._try(address, model)
            if series is not None:
                found[address] = series
        if not found and self.router not in routers:
            series = self._try(self.router, model)
            if series is not None:
                found[self.router] = series
        return Reading(time.monotonic(), found) if found else None

    def _try(self, address: str, model: str) -> list[Series] | None:
        # One that is gone is done without, and quickly.
        service = self.connections.service("router", address, _READ_TIMEOUT, patient=False)
        stub = telemetry_pb2_grpc.TelemetryServiceStub(service.channel)
        try:
            answer = service.call(stub.GetMetrics, telemetry_pb2.GetMetricsRequest(names=METRICS, model=model))
        except CommandError:
            return None
        return decode(answer.metrics_data)


def _lane(
    registry: Registry,
    model: str,
    lane: Lane,
    waiting: Mapping[str, Rollout],
    earlier: Reading | None,
    later: Reading | None,
) -> LaneView:
    live = bool(lane.rollout)
    rollout = registry.rollout(lane.rollout) if live else registry.latest_rollout(model, lane.segment)
    return LaneView(
        lane,
        rollout,
        registry.latest_analysis(rollout.name) if live and rollout else None,
        waiting.get(lane.segment),
        lane_figures(earlier, later, lane.segment, lane.epoch) if later else None,
        _monitor(registry, model, lane),
        None if live else _undone(registry, model, lane),
    )


def _undone(registry: Registry, model: str, lane: Lane) -> Event | None:
    asked = ListEventsRequest(segment=lane.segment, types=[_UNDONE, *_ENDINGS])
    latest = next(registry.events(model, asked, limit=1), None)
    return latest if latest is not None and latest.type == _UNDONE else None


def _monitor(registry: Registry, model: str, lane: Lane) -> Monitor | None:
    try:
        return registry.monitor(model, lane.segment)
    except CommandError:
        # A Registry of the release before does not know it, and all else is worth showing.
        return None


def _no_router(routers: list[str], router: str) -> str:
    places = ", ".join(routers) or router
    return f"no Router could be read ({places}), so requests, runtimes and errors are not shown"
