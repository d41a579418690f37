"""RPCs of instances, routes and recorded looks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial

from crossfade.common.v1 import analysis_pb2
from crossfade.enum_names import enum_name
from crossfade.registry.v1 import resources_pb2, service_pb2, service_pb2_grpc
from registry import converters, views
from registry.cleaning import clean
from registry.domain.serving import InstanceKind
from registry.repositories import Look, Position
from registry.service.instances import InstanceService, Report
from registry.service.looks import LookService
from registry.servicer import fleet_validation, look_validation, pages, validation
from registry.servicer.calls import Calls, Context
from registry.servicer.parts import Snapshots, parts
from registry.shielded import shielded
from registry.watch_hub import WatchHub
from services.common.guard import current_principal
from services.common.identity import Role, require_role

# Methods are named as in the contract.
# ruff: noqa: N802


class FleetServicer(service_pb2_grpc.RegistryServiceServicer):
    """Instances, routes and looks."""

    def __init__(self, calls: Calls, instances: InstanceService, looks: LookService, hub: WatchHub) -> None:
        self._calls = calls
        self._instances = instances
        self._looks = looks
        self._hub = hub
        self._snapshots = Snapshots()
        self._changing = asyncio.Lock()

    async def RecordAnalysis(
        self, request: service_pb2.RecordAnalysisRequest, context: Context
    ) -> service_pb2.RecordAnalysisResponse:
        """Records one look."""
        key = self._calls.key("RecordAnalysis", request, request.request_id)
        model, number = look_validation.analysis(request.analysis)
        kept = analysis_pb2.Analysis()
        kept.CopyFrom(request.analysis)
        kept.ClearField("cursor")
        kept.ClearField("record_time")
        clean(kept.summary)
        look = Look(request.analysis.sequence, converters.pack(kept), converters.pack(request.analysis.cursor))
        answer = service_pb2.RecordAnalysisResponse(analysis_sequence=request.analysis.sequence)
        work = partial(
            self._looks.record,
            key,
            model,
            number,
            look,
            converters.pack(answer),
            deadline=self._calls.deadline(context),
        )
        return service_pb2.RecordAnalysisResponse.FromString(await self._calls.run(work))

    async def ListAnalyses(
        self, request: service_pb2.ListAnalysesRequest, context: Context
    ) -> service_pb2.ListAnalysesResponse:
        """Recorded looks, oldest first."""
        model, number = validation.rollout_name("parent", request.parent)
        after = validation.not_negative("after_sequence", request.after_sequence)
        size = validation.page_size(request.page_size)
        deadline = self._calls.deadline(context)
        if request.latest_only:
            latest = await self._calls.run(partial(self._looks.latest, model, number, deadline=deadline))
            looks = [latest] if latest is not None and latest.sequence > after else []
            return service_pb2.ListAnalysesResponse(
                analyses=[_analysis(look, summaries_only=request.summaries_only) for look in looks]
            )
        listed = f"analyses of {model} {number}"
        key = pages.read(listed, request.page_token, (0,))
        start = after if key is None else max(after, int(key[0]))
        work = partial(self._looks.page, model, number, start, size + 1, deadline=deadline)
        found = await self._calls.run(work)
        convert = partial(_analysis, summaries_only=request.summaries_only)
        analyses, token = pages.cut(
            listed, found.rows, size, convert, lambda look: (look.sequence,), cut_short=found.cut_short
        )
        return service_pb2.ListAnalysesResponse(analyses=analyses, next_page_token=token)

    async def WatchRoutes(  # type: ignore[override]  # bytes already; see RegistryServicer.register
        self, request: service_pb2.WatchRoutesRequest, context: Context
    ) -> AsyncIterator[bytes]:
        """Routes of all lanes, then every change: serialized crossfade.registry.v1.WatchRoutesResponse."""
        del context
        position = Position(validation.not_negative("start_revision", request.start_revision), request.start_mark)
        async with aclosing(self._hub.watch(position, current_principal().name)) as batches:
            async for batch in batches:
                if batch.snapshot:
                    async for message in self._snapshots.messages(batch):
                        yield message
                else:
                    for message in parts(batch, position):
                        yield message
                position = batch.position

    async def ReportInstance(
        self, request: service_pb2.ReportInstanceRequest, context: Context
    ) -> service_pb2.ReportInstanceResponse:
        """A process says that it lives and what it serves."""
        ttl = fleet_validation.report(request)
        instance = request.instance
        kind = enum_name(resources_pb2.InstanceKind.DESCRIPTOR, instance.kind)
        require_role(current_principal(), Role(kind.lower()), f"report a {kind}")
        report = Report(
            instance_id=fleet_validation.instance_id(instance.instance_id),
            kind=InstanceKind(kind),
            address=instance.address,
            serving=tuple(views.serving_from_proto(serving) for serving in instance.serving),
            ttl=ttl,
            leaving=request.leaving,
            sequence=validation.not_negative("sequence", request.sequence),
            owner=current_principal().certified_name,
        )
        deadline = self._calls.deadline(context)
        known = await self._calls.run(partial(self._instances.renew, report, deadline=deadline))
        if known is None:
            # Whoever stops waiting does not end what has begun, and must not let the next one begin beside it.
            known = await shielded(asyncio.create_task(self._change(report, deadline)))
        expires, revision = known
        return service_pb2.ReportInstanceResponse(expire_time=converters.timestamp(expires), revision=revision)

    async def _change(self, report: Report, deadline: float) -> tuple[float, int]:
        """Takes what has changed, one report at a time: more of them could not be written at once, and would wait on
        threads on which others' leases are renewed."""
        async with self._changing:
            return await self._calls.run(partial(self._instances.change, report, deadline=deadline))

    async def ListInstances(
        self, request: service_pb2.ListInstancesRequest, context: Context
    ) -> service_pb2.ListInstancesResponse:
        """The processes whose leases run."""
        size = validation.page_size(request.page_size)
        kind = fleet_validation.instance_kind(request.kind)
        listed = f"instances {kind}"
        key = pages.read(listed, request.page_token, ("", ""))
        after = None if key is None else (str(key[0]), str(key[1]))
        work = partial(
            self._instances.page,
            InstanceKind(kind) if kind else None,
            after,
            size + 1,
            deadline=self._calls.deadline(context),
        )
        found = await self._calls.run(work)
        instances, token = pages.cut(
            listed,
            found,
            size,
            lambda view: views.instance_to_proto(view.instance, view.placements),
            lambda view: (str(view.instance.kind), view.instance.instance_id),
        )
        return service_pb2.ListInstancesResponse(instances=instances, next_page_token=token)


def _analysis(look: Look, *, summaries_only: bool) -> analysis_pb2.Analysis:
    message = analysis_pb2.Analysis.FromString(look.payload)
    message.record_time.CopyFrom(converters.moment(look.recorded))
    if summaries_only:
        message.ClearField("window")
    elif look.cursor:
        message.cursor.CopyFrom(analysis_pb2.Counts.FromString(look.cursor))
    return message
