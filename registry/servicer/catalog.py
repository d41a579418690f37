"""RPCs of models, versions and the audit log."""

from functools import partial

from crossfade.registry.v1 import resources_pb2, service_pb2, service_pb2_grpc
from registry import converters, views
from registry.service.history import HistoryService
from registry.service.models import ModelService
from registry.service.versions import Publication, VersionService
from registry.servicer import answers, filters, pages, validation
from registry.servicer.calls import Calls, Context
from registry.servicer.policy_validation import refuse
from registry.servicer.spans import Spans

# Methods are named as in the contract.
# ruff: noqa: N802


class CatalogServicer(service_pb2_grpc.RegistryServiceServicer):
    """Models, versions, events."""

    def __init__(
        self,
        calls: Calls,
        models: ModelService,
        versions: VersionService,
        history: HistoryService,
        spans: Spans,
    ) -> None:
        self._calls = calls
        self._models = models
        self._versions = versions
        self._history = history
        self._spans = spans

    async def CreateModel(self, request: service_pb2.CreateModelRequest, context: Context) -> resources_pb2.Model:
        """Creates a model."""
        key = self._calls.key("CreateModel", request, request.request_id)
        model = validation.model_identifier("model_id", request.model_id)
        description = validation.text("model.description", request.model.description)
        work = partial(
            self._models.create, key, model, description, answers.pack_model, deadline=self._calls.deadline(context)
        )
        return resources_pb2.Model.FromString(await self._calls.run(work))

    async def GetModel(self, request: service_pb2.GetModelRequest, context: Context) -> resources_pb2.Model:
        """A model and its lanes."""
        model = validation.model_name("name", request.name)
        moment = validation.moment(request)
        deadline = self._calls.deadline(context)
        if moment is not None:
            return answers.past_model(
                await self._calls.run(partial(self._history.model, model, moment, deadline=deadline))
            )
        return answers.model(await self._calls.run(partial(self._models.get, model, deadline=deadline)))

    async def UpdateModel(self, request: service_pb2.UpdateModelRequest, context: Context) -> resources_pb2.Model:
        """Changes what people wrote of a model."""
        key = self._calls.key("UpdateModel", request, request.request_id)
        model = validation.model_name("model.name", request.model.name)
        description = None
        if "description" in validation.update_paths(request):
            description = validation.text("model.description", request.model.description)
        work = partial(
            self._models.update,
            key,
            model,
            description,
            request.model.etag,
            answers.pack_model,
            deadline=self._calls.deadline(context),
        )
        return resources_pb2.Model.FromString(await self._calls.run(work))

    async def ListModels(
        self, request: service_pb2.ListModelsRequest, context: Context
    ) -> service_pb2.ListModelsResponse:
        """Models, by name."""
        size = validation.page_size(request.page_size)
        after = pages.read("models", request.page_token, ("",))
        start = "" if after is None else str(after[0])
        work = partial(self._models.page, start, size + 1, deadline=self._calls.deadline(context))
        found = await self._calls.run(work)
        models, token = pages.cut(
            "models", found.rows, size, answers.model, lambda view: (view.model.model,), cut_short=found.cut_short
        )
        return service_pb2.ListModelsResponse(models=models, next_page_token=token)

    async def PublishVersion(
        self, request: service_pb2.PublishVersionRequest, context: Context
    ) -> service_pb2.PublishVersionResponse:
        """Publishes a version."""
        key = self._calls.key("PublishVersion", request, request.request_id)
        model = validation.model_name("parent", request.parent)
        version = validation.identifier("version_id", request.version_id) if request.version_id else ""
        segment = validation.segment("segment", request.segment)
        validation.publication(request)
        wanted = Publication(
            model=model,
            version=version,
            artifact=converters.artifact_from_proto(request.version.artifact),
            signature=converters.signature_from_proto(request.version.signature),
            profile=converters.pack(request.version.profile) if request.version.HasField("profile") else b"",
            description=request.version.description,
            segment=segment,
            spec=None if request.without_rollout else converters.spec_from_proto(request.rollout),
            allow_incompatible=request.allow_incompatible,
        )
        work = partial(
            self._versions.publish, key, wanted, answers.pack_published, deadline=self._calls.deadline(context)
        )
        with self._spans.transition("publish", context, model, version=version, segment=segment) as span:
            published = service_pb2.PublishVersionResponse.FromString(await self._calls.run(work))
            span.set_attribute("crossfade.version", published.version.name.rpartition("/")[2])
        return published

    async def GetVersion(self, request: service_pb2.GetVersionRequest, context: Context) -> resources_pb2.Version:
        """A version, and what each Worker says of it."""
        model, version = validation.version_name("name", request.name)
        work = partial(self._versions.get, model, version, deadline=self._calls.deadline(context))
        return answers.version(await self._calls.run(work))

    async def ListVersions(
        self, request: service_pb2.ListVersionsRequest, context: Context
    ) -> service_pb2.ListVersionsResponse:
        """Versions of a model, newest first."""
        model = validation.model_name("parent", request.parent)
        size = validation.page_size(request.page_size)
        only = filters.versions(request)
        listed = f"versions of {model} {only}"
        before = pages.read(listed, request.page_token, (0,))
        number = None if before is None else int(before[0])
        work = partial(self._versions.page, model, number, size + 1, only, deadline=self._calls.deadline(context))
        found = await self._calls.run(work)
        versions, token = pages.cut(
            listed,
            found.rows,
            size,
            answers.version,
            lambda view: (view.version.number,),
            cut_short=found.cut_short,
        )
        return service_pb2.ListVersionsResponse(versions=versions, next_page_token=token)

    async def ListEvents(
        self, request: service_pb2.ListEventsRequest, context: Context
    ) -> service_pb2.ListEventsResponse:
        """The audit log, newest first."""
        model = validation.model_or_any("parent", request.parent)
        rollout = 0
        if request.rollout:
            owner, rollout = validation.rollout_name("rollout", request.rollout)
            if model not in ("", owner):
                raise refuse("rollout", f"is one of model {owner}, and parent is {request.parent}")
            model = owner
        size = validation.page_size(request.page_size)
        only = filters.events(request, rollout)
        listed = f"events of {model or '-'} {only}"
        before = pages.read(listed, request.page_token, (0.0, "", 0))
        start = None if before is None else (float(before[0]), str(before[1]), int(before[2]))
        work = partial(self._models.events, model, start, size + 1, only, deadline=self._calls.deadline(context))
        found = await self._calls.run(work)
        events, token = pages.cut(
            listed, found, size, views.event_to_proto, lambda event: (event.time, event.model, event.sequence)
        )
        return service_pb2.ListEventsResponse(events=events, next_page_token=token)
