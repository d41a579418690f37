"""The Registry as commands use it: one method per question, errors as `CommandError`."""

import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol, TypeVar

from crossfade import names
from crossfade.cli.connect import Service, pages
from crossfade.cli.errors import CommandError, UsageError
from crossfade.cli.hints import lane_command, lane_list
from crossfade.cli.text import last_part
from crossfade.common.v1.analysis_pb2 import Analysis
from crossfade.registry.v1 import resources_pb2, service_pb2, service_pb2_grpc


class _Page(Protocol):
    """The answer of a list."""

    @property
    def next_page_token(self) -> str:
        """Empty: the last page."""


_Answer = TypeVar("_Answer", bound=_Page)
_Item = TypeVar("_Item")

_PAGE: Final = 100
_LOOK_BACK: Final = 500
_NEVER_BEGAN: Final = frozenset({resources_pb2.ROLLOUT_STATE_QUEUED, resources_pb2.ROLLOUT_STATE_CANCELLED})


def request_id() -> str:
    """A new id of a mutation."""
    return str(uuid.uuid4())


def checked(value: str, what: str) -> str:
    """Answers an id that can be one.

    Raises:
        UsageError: it cannot.
    """
    try:
        return names.check_id(value, what)
    except ValueError as error:
        raise UsageError(str(error)) from error


class Registry:
    """Asks a Registry, and has it change things.

    Every method raises CommandError where the Registry cannot be reached, refuses, or knows nothing of what is named;
    the message says what to do. One that is given an id raises UsageError where it can be none.

    Args:
        service: where it is.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._stub = service_pb2_grpc.RegistryServiceStub(service.channel)

    def model(self, model: str) -> resources_pb2.Model:
        """A model and its lanes."""
        name = names.model_name(checked(model, "model"))
        return self._service.call(self._stub.GetModel, service_pb2.GetModelRequest(name=name))

    def past_model(self, request: service_pb2.GetModelRequest) -> resources_pb2.Model:
        """A model as of the moment that the request says."""
        return self._service.call(self._stub.GetModel, request)

    def update_model(self, request: service_pb2.UpdateModelRequest) -> resources_pb2.Model:
        """Changes a model's description."""
        return self._service.call(self._stub.UpdateModel, request)

    def monitor(self, model: str, segment: str) -> resources_pb2.Monitor:
        """How a lane is watched while no rollout is live in it."""
        request = service_pb2.GetMonitorRequest(model=names.model_name(checked(model, "model")), segment=segment)
        return self._service.call(self._stub.GetMonitor, request)

    def set_monitor(self, request: service_pb2.SetMonitorRequest) -> resources_pb2.Monitor:
        """Changes how a lane is watched."""
        return self._service.call(self._stub.SetMonitor, request)

    def set_segment(self, request: service_pb2.SetSegmentRequest) -> resources_pb2.Lane:
        """Gives a segment a lane of its own."""
        return self._service.call(self._stub.SetSegment, request)

    def delete_segment(self, request: service_pb2.DeleteSegmentRequest) -> resources_pb2.Model:
        """Takes a segment's lane away."""
        return self._service.call(self._stub.DeleteSegment, request)

    def lane(self, model: str, segment: str) -> resources_pb2.Lane:
        """One lane of a model.

        Raises:
            CommandError: there is none for this segment.
        """
        lanes = self.model(model).lanes
        for lane in lanes:
            if lane.segment == segment:
                return lane
        if not lanes:
            raise CommandError(f"{model} has no version yet: crossfade publish {model} DIR publishes the first")
        known = lane_list(lane.segment for lane in lanes)
        raise CommandError(f"{model} has no lane for the segment {segment!r}; it has {known}")

    def lane_etag(self, model: str, segment: str) -> str:
        """A lane's etag; of a command that is said again the one that it had then, for the lane may be gone.

        Raises:
            CommandError: there is no lane for this segment.
        """
        return self._service.repeat.etag or self.lane(model, segment).etag

    def models(self) -> Iterator[resources_pb2.Model]:
        """All models, by name."""
        request = service_pb2.ListModelsRequest(page_size=_PAGE)
        return self._pages(self._stub.ListModels, request, lambda answer: answer.models)

    def create_model(self, model: str) -> None:
        """Creates a model; somebody else may have been faster."""
        request = service_pb2.CreateModelRequest(model_id=checked(model, "model"), request_id=request_id())
        try:
            self._service.call(self._stub.CreateModel, request)
        except CommandError as error:
            if error.reason != "MODEL_EXISTS":
                raise

    def publish(self, request: service_pb2.PublishVersionRequest) -> service_pb2.PublishVersionResponse:
        """Publishes a version: stable at once as the lane's first, else with a rollout unless told not to."""
        return self._service.call(self._stub.PublishVersion, request)

    def version(self, model: str, version: str) -> resources_pb2.Version:
        """A version, with its readiness and its profile."""
        name = names.version_name(checked(model, "model"), checked(version, "version"))
        return self._service.call(self._stub.GetVersion, service_pb2.GetVersionRequest(name=name))

    def versions(
        self, model: str, only: service_pb2.ListVersionsRequest | None = None
    ) -> Iterator[resources_pb2.Version]:
        """Versions of a model, newest first; `only` says which."""
        request = only or service_pb2.ListVersionsRequest()
        request.parent, request.page_size = names.model_name(checked(model, "model")), _PAGE
        return self._pages(self._stub.ListVersions, request, lambda answer: answer.versions)

    def load(self, request: service_pb2.LoadVersionRequest) -> resources_pb2.Lane:
        """Has Workers hold a version without traffic."""
        return self._service.call(self._stub.LoadVersion, request)

    def withdraw(self, request: service_pb2.WithdrawVersionRequest) -> resources_pb2.Version:
        """Takes a PENDING version back, which then cannot be started any more."""
        return self._service.call(self._stub.WithdrawVersion, request)

    def undo(self, request: service_pb2.UndoLaneRequest) -> resources_pb2.Lane:
        """Goes back to an earlier version."""
        return self._service.call(self._stub.UndoLane, request)

    def start_rollout(self, request: service_pb2.StartRolloutRequest) -> resources_pb2.Rollout:
        """Starts the rollout of a PENDING version, or queues it behind the live one."""
        return self._service.call(self._stub.StartRollout, request)

    def rollout(self, name: str) -> resources_pb2.Rollout:
        """A rollout, by its resource name."""
        return self._service.call(self._stub.GetRollout, service_pb2.GetRolloutRequest(name=name))

    def rollouts(
        self, model: str, only: service_pb2.ListRolloutsRequest | None = None, *, limit: int | None = None
    ) -> Iterator[resources_pb2.Rollout]:
        """Rollouts of a model, newest first; `only` says which; model "-": of all models."""
        request = only or service_pb2.ListRolloutsRequest()
        request.parent = names.model_name(model if model == "-" else checked(model, "model"))
        request.page_size = min(_PAGE, limit or _PAGE)
        return self._pages(self._stub.ListRollouts, request, lambda answer: answer.rollouts, limit)

    def find_rollout(self, model: str, segment: str, number: int | None) -> resources_pb2.Rollout:
        """The rollout with this number, or the lane's live one.

        Raises:
            CommandError: none lives in the lane.
        """
        if number is not None:
            return self.rollout(names.rollout_name(checked(model, "model"), number))
        lane = self.lane(model, segment)
        if lane.rollout:
            return self.rollout(lane.rollout)
        where = f" in the segment {segment!r}" if segment else ""
        back = lane_command(f"undo {model}", segment)
        undo = f"; {back} goes back from {lane.stable_version} to {lane.previous_version}"
        elsewhere = self._elsewhere(model, segment) + (undo if lane.previous_version else "")
        raise CommandError(f"no rollout of {model} lives{where}; {elsewhere}")

    def _elsewhere(self, model: str, segment: str) -> str:
        """Where rollouts of a model live while none does in this lane; else how there comes to be one."""
        others = [lane.segment for lane in self.model(model).lanes if lane.rollout]
        if others:
            named = ", ".join(f"--segment {one}" if one else "the default lane (no --segment)" for one in others)
            return f"one lives in another lane of it: {named}"
        start = lane_command(f"start {model} VERSION", segment)
        return f"crossfade rollouts {model} lists those that have ended, {start} starts one"

    def latest_rollout(self, model: str, segment: str) -> resources_pb2.Rollout | None:
        """The lane's live rollout, or else the one that ended last; None: it has had none.

        One that is still queued, or was cancelled before it began, has nothing to tell unless there is no other.
        """
        never_began = None
        of_lane = service_pb2.ListRolloutsRequest(segment=segment)
        for rollout in self.rollouts(model, of_lane, limit=_LOOK_BACK):
            if rollout.state not in _NEVER_BEGAN or rollout.HasField("start_time"):
                return rollout
            never_began = never_began or rollout
        return never_began

    def latest_analysis(self, rollout: str) -> Analysis | None:
        """The latest look of a rollout, its summary alone; None: nobody has looked yet."""
        request = service_pb2.ListAnalysesRequest(parent=rollout, latest_only=True, summaries_only=True)
        analyses = self._service.call(self._stub.ListAnalyses, request).analyses
        return analyses[-1] if analyses else None

    def events(
        self, model: str, only: service_pb2.ListEventsRequest | None = None, *, limit: int | None = None
    ) -> Iterator[resources_pb2.Event]:
        """The audit log, newest first, `only` says which; model "-": of all models."""
        request = only or service_pb2.ListEventsRequest()
        request.parent = names.model_name(model if model == "-" else checked(model, "model"))
        request.page_size = min(_PAGE, limit or _PAGE)
        return self._pages(self._stub.ListEvents, request, lambda answer: answer.events, limit)

    def webhooks(self) -> list[resources_pb2.Webhook]:
        """The webhooks, and what each has yet to be told."""
        return list(self._service.call(self._stub.ListWebhooks, service_pb2.ListWebhooksRequest()).webhooks)

    def retry_webhook(self, name: str) -> resources_pb2.Webhook:
        """Has what a webhook has yet to be told tried soon."""
        return self._service.call(self._stub.RetryWebhook, service_pb2.RetryWebhookRequest(name=name))

    def drop_deliveries(self, request: service_pb2.DropDeliveriesRequest) -> int:
        """Forgets what a webhook has yet to be told; answers how many events."""
        dropped, more = 0, True
        while more:
            answer = self._service.call(self._stub.DropDeliveries, request)
            dropped, more = dropped + answer.dropped, answer.more
        return dropped

    def instances(
        self, kind: resources_pb2.InstanceKind.ValueType = resources_pb2.INSTANCE_KIND_UNSPECIFIED
    ) -> Iterator[resources_pb2.Instance]:
        """The processes whose leases run."""
        request = service_pb2.ListInstancesRequest(kind=kind, page_size=_PAGE)
        return self._pages(self._stub.ListInstances, request, lambda answer: answer.instances)

    def advance(self, request: service_pb2.AdvanceRolloutRequest) -> resources_pb2.Rollout:
        """Takes a rollout to its next step before its time."""
        return self._service.call(self._stub.AdvanceRollout, request)

    def approve(self, request: service_pb2.ApproveRolloutRequest) -> resources_pb2.Rollout:
        """Agrees to the promotion of a version, for when it has passed."""
        return self._service.call(self._stub.ApproveRollout, request)

    def pause(self, request: service_pb2.PauseRolloutRequest) -> resources_pb2.Rollout:
        """Stops a rollout's plan; its share stays."""
        return self._service.call(self._stub.PauseRollout, request)

    def resume(self, request: service_pb2.ResumeRolloutRequest) -> resources_pb2.Rollout:
        """Lets a paused rollout go on."""
        return self._service.call(self._stub.ResumeRollout, request)

    def promote(self, request: service_pb2.PromoteRolloutRequest) -> resources_pb2.Rollout:
        """Makes a rollout's version stable."""
        return self._service.call(self._stub.PromoteRollout, request)

    def roll_back(self, request: service_pb2.RollbackRolloutRequest) -> resources_pb2.Rollout:
        """Ends a rollout and marks its version FAILED."""
        return self._service.call(self._stub.RollbackRollout, request)

    def cancel(self, request: service_pb2.CancelRolloutRequest) -> resources_pb2.Rollout:
        """Ends a rollout without blame."""
        return self._service.call(self._stub.CancelRollout, request)

    def _pages(
        self,
        method: Callable[..., _Answer],
        request: Any,
        items: Callable[[_Answer], Iterable[_Item]],
        limit: int | None = None,
    ) -> Iterator[_Item]:
        """The items of every page that a list's request leads to."""

        def fetch(token: str) -> tuple[list[_Item], str]:
            request.page_token = token
            answer = self._service.call(method, request)
            return list(items(answer)), answer.next_page_token

        return pages(fetch, limit)


def number_of(rollout: str | resources_pb2.Rollout) -> str:
    """The number in a rollout's name."""
    return last_part(rollout if isinstance(rollout, str) else rollout.name)
