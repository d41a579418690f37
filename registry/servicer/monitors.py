"""RPCs of monitors."""

from functools import partial

from crossfade.common.v1 import analysis_pb2
from crossfade.registry.v1 import resources_pb2, service_pb2, service_pb2_grpc
from registry import converters
from registry.cleaning import clean
from registry.domain.monitors import Alert, Monitor, MonitorLook
from registry.service.monitors import MonitorService
from registry.servicer import look_validation, monitor_validation, validation
from registry.servicer.calls import Calls, Context

# Methods are named as in the contract.
# ruff: noqa: N802


class MonitorServicer(service_pb2_grpc.RegistryServiceServicer):
    """Lanes that are watched without a rollout."""

    def __init__(self, calls: Calls, monitors: MonitorService) -> None:
        self._calls = calls
        self._monitors = monitors

    async def GetMonitor(self, request: service_pb2.GetMonitorRequest, context: Context) -> resources_pb2.Monitor:
        """How a lane is watched, and what stands out."""
        work = partial(self._monitors.get, *_lane(request), deadline=self._calls.deadline(context))
        return _message(await self._calls.run(work), with_evidence=request.with_evidence)

    async def SetMonitor(self, request: service_pb2.SetMonitorRequest, context: Context) -> resources_pb2.Monitor:
        """Changes how a lane is watched."""
        key = self._calls.key("SetMonitor", request, request.request_id)
        work = partial(
            self._monitors.set,
            key,
            _lane(request),
            monitor_validation.settings("settings", request.settings),
            monitor_validation.update_paths(request.update_mask),
            validation.text("reason", request.reason),
            lambda monitor: converters.pack(_message(monitor, with_evidence=False)),
            deadline=self._calls.deadline(context),
        )
        return resources_pb2.Monitor.FromString(await self._calls.run(work))

    async def RecordMonitor(
        self, request: service_pb2.RecordMonitorRequest, context: Context
    ) -> service_pb2.RecordMonitorResponse:
        """Records one look at a lane."""
        key = self._calls.key("RecordMonitor", request, request.request_id)
        said = request.monitor
        lane = (validation.model_name("monitor.model", said.model), validation.segment("monitor.segment", said.segment))
        look_validation.counts("monitor.cursor", said.cursor)
        clean(said.summary)
        look = MonitorLook(
            version=validation.identifier("monitor.version", said.version),
            sequence=monitor_validation.sequence("monitor.sequence", said.sequence),
            summary=converters.pack(said.summary),
            alerts=monitor_validation.alerts("monitor.alerts", said.alerts, said.sequence),
            evidence=said.evidence,
            cursor=converters.pack(said.cursor),
        )
        answer = converters.pack(service_pb2.RecordMonitorResponse(sequence=said.sequence))
        work = partial(self._monitors.record, key, lane, look, answer, deadline=self._calls.deadline(context))
        return service_pb2.RecordMonitorResponse.FromString(await self._calls.run(work))


def _lane(request: service_pb2.GetMonitorRequest | service_pb2.SetMonitorRequest) -> tuple[str, str]:
    return validation.model_name("model", request.model), validation.segment("segment", request.segment)


def _message(monitor: Monitor, *, with_evidence: bool) -> resources_pb2.Monitor:
    return resources_pb2.Monitor(
        model=f"models/{monitor.model}",
        segment=monitor.segment,
        settings=resources_pb2.MonitorSettings(
            off=monitor.settings.off,
            undo=monitor.settings.undo,
            learn=converters.duration(monitor.settings.learn),
        ),
        version=monitor.version,
        sequence=monitor.sequence,
        record_time=converters.timestamp(monitor.recorded),
        summary=analysis_pb2.Summary.FromString(monitor.summary) if monitor.summary else None,
        alerts=[_alert(alert) for alert in monitor.alerts],
        evidence=monitor.evidence if with_evidence else b"",
        cursor=analysis_pb2.Counts.FromString(monitor.cursor) if with_evidence else None,
    )


def _alert(alert: Alert) -> resources_pb2.Alert:
    return resources_pb2.Alert(gate=alert.gate, reason=alert.reason, start_time=converters.timestamp(alert.since))
