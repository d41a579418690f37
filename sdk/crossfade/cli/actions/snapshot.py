"""What `status` shows, gathered from the Registry and the Routers."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from crossfade.cli.connect import Connections
from crossfade.cli.errors import CommandError
from crossfade.cli.registry_client import Registry
from crossfade.cli.render.traffic import METRICS, Reading, Series, decode, lane_figures
from crossfade.cli.render.views import LaneView, ModelView
from crossfade.cli.text import last_part
from crossfade.names import parse_rollout
from crossfade.registry.v1.resources_pb2 import (
    INSTANCE_KIND_ROUTER,
    INSTANCE_KIND_WORKER,
    ROLLOUT_STATE_QUEUED,
    Event,
    Lane,
    Model,
    Monitor,
    Rollout,
)
from crossfade.registry.v1.service_pb2 import ListEventsRequest, ListRolloutsRequest
from crossfade.telemetry.v1 import telemetry_pb2, telemetry_pb2_grpc

_READ_TIMEOUT = 2.0
_BETWEEN_READINGS = 0.5
_UNDONE = "LANE_UNDONE"
_ENDINGS = ("ROLLOUT_PROMOTED", "ROLLOUT_ROLLED_BACK", "ROLLOUT_INCONCLUSIVE", "ROLLOUT_CANCELLED")
_AT_ONCE = 4
"""Models that are asked about at the same time."""


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
        return self._views(registry, [registry.model(model)], model)[0]

    def views(self, found: Sequence[Model]) -> list[ModelView]:
        """Models at this moment. What they have in common is asked for once, however many they are.

        Raises:
            CommandError: the Registry does not answer.
        """
        return self._views(Registry(self.connections.registry()), found, "")

    def _views(self, registry: Registry, found: Sequence[Model], only: str) -> list[ModelView]:
        """Views of models; `only`: the one that they are; empty: several."""
        instances = tuple(registry.instances())
        routers = [one.address for one in instances if one.kind == INSTANCE_KIND_ROUTER]
        workers = tuple(one for one in instances if one.kind == INSTANCE_KIND_WORKER)
        earlier, later = self._readings(only, routers)
        live = list(registry.rollouts(only or "-", ListRolloutsRequest(live_only=True)))
        running = {rollout.name: rollout for rollout in live}
        queued = {
            (parse_rollout(rollout.name)[0], rollout.segment): rollout
            for rollout in live
            if rollout.state == ROLLOUT_STATE_QUEUED
        }
        warnings = () if later else (_no_router(routers, self.router),)
        before, after = _by_model(earlier), _by_model(later)

        def view_of(one: Model) -> ModelView:
            model = last_part(one.name)
            readings = before.get(model, _nothing(earlier)), after.get(model, _nothing(later))
            changed = next(registry.events(model, limit=1), None)
            lanes = tuple(
                _LaneGatherer(registry, model, lane, changed).view(
                    running.get(lane.rollout), queued.get((model, lane.segment)), *readings
                )
                for lane in one.lanes
            )
            return ModelView(one, lanes, workers, changed, time.time(), warnings)

        return _each(view_of, found)

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


def _each(view_of: Callable[[Model], ModelView], found: Sequence[Model]) -> list[ModelView]:
    """The view of each: of most, what takes time is the way to the Registry and back."""
    if len(found) < _AT_ONCE:
        return [view_of(one) for one in found]
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        return list(pool.map(view_of, found))
    finally:
        # Whoever ends the command waits for no answer: what is under way fails as the connection is closed.
        pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class _LaneGatherer:
    """Gathers the view of a lane.

    Attributes:
        registry: is asked.
        model: the lane's.
        lane: which.
        changed: the model's latest event.
    """

    registry: Registry
    model: str
    lane: Lane
    changed: Event | None

    def view(
        self, live: Rollout | None, queued: Rollout | None, earlier: Reading | None, later: Reading | None
    ) -> LaneView:
        """The lane, with its live rollout where that is known already, and the one that waits for it."""
        lane = self.lane
        rollout = live or self._rollout()
        return LaneView(
            lane,
            rollout,
            self.registry.latest_analysis(rollout.name) if lane.rollout and rollout else None,
            queued,
            lane_figures(earlier, later, lane.segment, lane.epoch) if later else None,
            self._monitor(),
            None if lane.rollout else self._undone(),
        )

    def _rollout(self) -> Rollout | None:
        if self.lane.rollout:
            return self.registry.rollout(self.lane.rollout)
        return self.registry.latest_rollout(self.model, self.lane.segment)

    def _undone(self) -> Event | None:
        types, latest = (_UNDONE, *_ENDINGS), self.changed
        if latest is None or latest.type not in types or latest.segment != self.lane.segment:
            asked = ListEventsRequest(segment=self.lane.segment, types=types)
            latest = next(self.registry.events(self.model, asked, limit=1), None)
        return latest if latest is not None and latest.type == _UNDONE else None

    def _monitor(self) -> Monitor | None:
        try:
            return self.registry.monitor(self.model, self.lane.segment)
        except CommandError:
            # A Registry of the release before does not know it, and all else is worth showing.
            return None


def _by_model(reading: Reading | None) -> Mapping[str, Reading]:
    """A reading of many models, model by model."""
    if reading is None:
        return {}
    series: defaultdict[str, defaultdict[str, list[Series]]] = defaultdict(lambda: defaultdict(list))
    for address, found in reading.series.items():
        for one in found:
            series[one.attributes.get("model", "")][address].append(one)
    return {model: Reading(reading.seconds, of_model) for model, of_model in series.items()}


def _nothing(reading: Reading | None) -> Reading | None:
    """The same, of a model of which nothing was counted."""
    return reading and Reading(reading.seconds, dict.fromkeys(reading.series, ()))


def _no_router(routers: list[str], router: str) -> str:
    places = ", ".join(routers) or router
    return f"no Router could be read ({places}), so requests, runtimes and errors are not shown"
