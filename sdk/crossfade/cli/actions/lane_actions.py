"""What a person does to a model or a lane without a rollout, with its etag, so that no change is overrun."""

from collections.abc import Sequence
from typing import Final

from crossfade.cli import text
from crossfade.cli.actions.following import follow, load_left, load_progress
from crossfade.cli.actions.publishing import act_on_lane
from crossfade.cli.context import Session
from crossfade.cli.hints import every_request, lane_command
from crossfade.cli.registry_client import Registry, checked, request_id
from crossfade.cli.render.jsons import to_json
from crossfade.names import model_name, version_name
from crossfade.registry.v1 import resources_pb2
from crossfade.registry.v1.service_pb2 import (
    DeleteSegmentRequest,
    LoadVersionRequest,
    SetSegmentRequest,
    UndoLaneRequest,
    UpdateModelRequest,
    WithdrawVersionRequest,
)

_NO_REASON: Final = "no reason was given: --reason TEXT says one, which status and events then show"


def describe_model(session: Session, model: str, description: str) -> None:
    """Says what a model is for."""
    request = UpdateModelRequest(request_id=request_id())
    request.model.name, request.model.description = model_name(checked(model, "model")), description
    request.update_mask.paths.append("description")
    after = Registry(session.connect.registry()).update_model(request)
    session.show(to_json(after), lambda: f"{model}: {after.description or 'no description'}")


def give_segment(session: Session, model: str, segment: str, version: str, reason: str, *, force: bool) -> None:
    """Gives a segment a lane of its own."""
    registry = Registry(session.connect.registry())
    request = SetSegmentRequest(
        model=model_name(model),
        segment=checked(segment, "segment"),
        version=version,
        reason=reason,
        force=force,
        etag=registry.model(model).etag,
        request_id=request_id(),
    )
    lane = act_on_lane(model, registry.set_segment, request, again="say it again")
    session.show(
        to_json(lane), lambda: f"segment {segment} of {model} has its own lane: {lane.stable_version} is stable"
    )


def drop_segment(session: Session, model: str, segment: str, reason: str, *, cancel_rollout: bool, force: bool) -> None:
    """Takes a segment's lane away."""
    registry = Registry(session.connect.registry())
    request = DeleteSegmentRequest(
        model=model_name(model),
        segment=checked(segment, "segment"),
        cancel_rollout=cancel_rollout,
        force=force,
        reason=reason,
        etag=registry.lane_etag(model, segment),
        request_id=request_id(),
    )
    after = act_on_lane(model, registry.delete_segment, request, again="say it again")
    session.show(
        to_json(after), lambda: f"the lane of segment {segment} is gone: its requests go to {model}'s default lane"
    )


def undo_lane(session: Session, model: str, request: UndoLaneRequest) -> None:
    """Makes an earlier version stable again.

    Args:
        session: the command's run.
        model: the model's id.
        request: what is wanted; name, etag and id are filled in here.
    """
    registry = Registry(session.connect.registry())
    before = registry.lane(model, request.segment)
    segments = [one.segment for one in registry.model(model).lanes]
    request.model = model_name(model)
    request.etag = before.etag
    request.request_id = request_id()
    after = act_on_lane(model, registry.undo, request, again="say it again")
    session.show(to_json(after), lambda: _undone(before, after, segments, bad=request.bad))
    if not request.reason and not session.options.json:
        session.note(_NO_REASON)


def try_version(session: Session, model: str, version: str, segment: str, seconds: float, wait: float | None) -> None:
    """Has Workers hold a version for pinned calls.

    Args:
        session: the command's run.
        model: the model's id.
        version: the version's id.
        segment: the lane's.
        seconds: for how long; 0: it is let go.
        wait: seconds to wait until a Worker has it ready; None: not at all.
    """
    registry = Registry(session.connect.registry())
    request = LoadVersionRequest(
        name=version_name(model, checked(version, "version")),
        segment=segment,
        etag=registry.lane_etag(model, segment),
        request_id=request_id(),
    )
    request.ttl.FromMilliseconds(round(seconds * 1000))
    after = act_on_lane(model, registry.load, request, again="say it again")
    # A lane in which nothing was changed keeps its etag.
    changed = after.etag != request.etag
    session.show(to_json(after), lambda: _loaded(model, version, segment, seconds, changed=changed))
    if seconds and wait is not None:
        follow(session, model, load_progress(registry, model, version), wait, load_left(model, version))


def _loaded(model: str, version: str, segment: str, seconds: float, *, changed: bool) -> str:
    if not seconds:
        return f"{version} is let go" if changed else f"{version} was not held by `crossfade try`; nothing has changed"
    return (
        f"{version} is loaded for {text.span(seconds)} and gets no traffic; a pinned call reaches it:\n"
        + lane_command(f"predict {model} -i ROWS --version {version}", segment)
    )


def withdraw_version(session: Session, model: str, version: str, segment: str, reason: str) -> None:
    """Takes a PENDING version back."""
    registry = Registry(session.connect.registry())
    request = WithdrawVersionRequest(
        name=version_name(model, checked(version, "version")),
        segment=segment,
        etag=registry.lane_etag(model, segment),
        reason=reason,
        request_id=request_id(),
    )
    after = act_on_lane(model, registry.withdraw, request, again="say it again")
    session.show(to_json(after), lambda: f"{version} is WITHDRAWN: it never gets requests here")


def _undone(before: resources_pb2.Lane, after: resources_pb2.Lane, segments: Sequence[str], *, bad: bool) -> str:
    state = "FAILED" if bad else "DEPRECATED"
    old = before.stable_version
    if old == after.stable_version:
        # It is said again: the lane was as it is now already, and the version before left at that moment.
        left = (one for one in after.versions if one.version != old and one.state_time == after.stable_since)
        old = next((one.version for one in left), "")
    gets = every_request(after.segment, segments)
    return f"{after.stable_version} is STABLE again and gets {gets}" + (f"; {old} is {state}" if old else "")
