"""What `publish` and `start` do, and how they say it."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from crossfade.artifact.folder import ArtifactError, verify
from crossfade.cli import text
from crossfade.cli.actions.following import (
    follow,
    load_left,
    load_progress,
    rollout_left,
    rollout_progress,
    route_progress,
)
from crossfade.cli.actions.forecasting import plan_notes
from crossfade.cli.actions.new_lane import note_new_lane, segments_of
from crossfade.cli.actions.tries import note_tries
from crossfade.cli.context import Session
from crossfade.cli.errors import CommandError
from crossfade.cli.hints import lane_command
from crossfade.cli.registry_client import Registry, checked, number_of, request_id
from crossfade.cli.render.jsons import to_json
from crossfade.common.v1.policy_pb2 import MODE_SHADOW, Step
from crossfade.names import model_name, version_name
from crossfade.publishing import version_of
from crossfade.registry.v1 import resources_pb2
from crossfade.registry.v1.service_pb2 import (
    PublishVersionRequest,
    PublishVersionResponse,
    RolloutSpec,
    StartRolloutRequest,
)

_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")


def publish_version(
    session: Session,
    model: str,
    folder: Path,
    uri: str,
    description: str,
    request: PublishVersionRequest,
    wait: float | None,
) -> None:
    """Publishes an artifact, and creates the model if there is none.

    Args:
        session: the command's run.
        model: the model's id.
        folder: the artifact on this machine.
        uri: where Workers fetch it from; empty: the folder.
        description: what changed.
        request: the rest.
        wait: seconds to wait for the outcome; None: not at all.
    """
    registry = Registry(session.connect.registry())
    try:
        artifact = verify(folder)
    except ArtifactError as error:
        raise CommandError(str(error)) from error
    request.parent = model_name(checked(model, "model"))
    if request.version_id:
        checked(request.version_id, "version")
    request.version.CopyFrom(version_of(artifact, uri, description))
    before = segments_of(registry, model, request.segment)
    request.request_id = request_id()
    try:
        answer = registry.publish(request)
    except CommandError as error:
        if error.reason != "MODEL_NOT_FOUND":
            raise
        registry.create_model(model)
        request.request_id = request_id()
        answer = registry.publish(request)
    version = text.last_part(answer.version.name)
    session.show(to_json(answer), lambda: published(model, version, request.segment, answer))
    note_new_lane(session, model, request.segment, before, live=answer.HasField("rollout"))
    architecture = artifact.manifest.architecture
    if architecture is not None and not session.options.json:
        session.note(
            f"It is weights for the architecture {architecture.name}: Workers need it in CROSSFADE_ARCHITECTURES, and "
            "its package"
        )
    if answer.HasField("rollout"):
        _note_plan(session, model, request.segment, answer.rollout, request.rollout)
    if wait is not None:
        left = load_left(model, version)
        if answer.HasField("rollout"):
            progress = rollout_progress(registry, answer.rollout.name)
            left = rollout_left(model, answer.rollout)
        elif _is_stable(answer, request.segment):
            progress = route_progress(session, registry, model, version, request.segment)
        else:
            progress = load_progress(registry, model, version)
        follow(session, model, progress, wait, left)


def start_rollout(
    session: Session,
    model: str,
    version: str,
    segment: str,
    spec: RolloutSpec,
    *,
    allow_incompatible: bool,
    wait: float | None,
) -> None:
    """Starts the rollout of a version that is PENDING."""
    registry = Registry(session.connect.registry())
    lane = registry.lane(model, segment)
    request = StartRolloutRequest(
        version=version_name(model, checked(version, "version")),
        segment=segment,
        rollout=spec,
        allow_incompatible=allow_incompatible,
        etag=lane.etag,
        request_id=request_id(),
    )
    rollout = act_on_lane(model, registry.start_rollout, request, again="start again")
    session.show(to_json(rollout), lambda: rollout_sentence(model, rollout))
    note_tries(session, registry, model, rollout)
    _note_plan(session, model, segment, rollout, spec)
    if wait is not None:
        follow(session, model, rollout_progress(registry, rollout.name), wait, rollout_left(model, rollout))


def _note_plan(session: Session, model: str, segment: str, rollout: resources_pb2.Rollout, spec: RolloutSpec) -> None:
    """Says at once of a rollout that begins now that it cannot conclude in time, and what is not known of that."""
    if session.options.json or rollout.state != resources_pb2.ROLLOUT_STATE_WAITING_READY:
        return
    for note in plan_notes(session, model, segment, rollout.version, spec):
        session.note(note)


def act_on_lane(model: str, call: Callable[[_Request], _Answer], request: _Request, again: str) -> _Answer:
    """Makes a call that rests on a lane's etag; what changed meanwhile is told, never overrun.

    Args:
        model: the lane's model.
        call: the Registry's method.
        request: with the etag.
        again: what to do after a look at the change.

    Raises:
        CommandError: the call failed, or the lane has changed.
    """
    try:
        return call(request)
    except CommandError as error:
        if error.reason != "ETAG_STALE":
            raise
        raise error.saying(
            f"{model} has changed since it was read; look at it (crossfade status {model}), then {again}"
        ) from error


def published(model: str, version: str, segment: str, answer: PublishVersionResponse) -> str:
    """What a publication did."""
    if answer.HasField("rollout"):
        sentence = rollout_sentence(model, answer.rollout)
        waits = sentence.removeprefix(f"{version} ")
        return f"{version} published; {'it ' + waits if waits != sentence else sentence}"
    if _is_stable(answer, segment):
        return (
            f"{version} published; it is STABLE at once, as the first version of {model}.\n"
            f"It answers as soon as a worker has it ready: crossfade status {model}"
        )
    return (
        f"{version} published; it is PENDING and gets no requests.\n"
        f"Start its rollout: {lane_command(f'start {model} {version}', segment)}"
    )


def rollout_sentence(model: str, rollout: resources_pb2.Rollout) -> str:
    """What a rollout that was just asked for does."""
    number = number_of(rollout)
    if rollout.state == resources_pb2.ROLLOUT_STATE_QUEUED:
        return rollout.note or f"rollout {number} of {rollout.version} waits for the live one and starts by itself."
    if not rollout.stable_version and rollout.state == resources_pb2.ROLLOUT_STATE_WAITING_READY:
        return f"rollout {number} begins as soon as a worker has {rollout.version} ready."
    steps = rollout.plan.steps
    share = _step_words(steps[0]) if steps else text.share(500)
    more = "" if len(steps) < 2 else ", then " + ", ".join(_step_words(step) for step in steps[1:])
    begins = f"rollout {number} gives it {share} of the requests{more}, as soon as a worker has it ready.\n"
    if steps and all(step.mode == MODE_SHADOW for step in steps):
        start = lane_command(f"start {model} {rollout.version}", rollout.segment)
        return f"{begins}Nobody gets its answers, so that it ends without a promotion. When it has passed: {start}"
    if rollout.HasField("approval"):
        approve = lane_command(f"approve {model}", rollout.segment)
        return f"{begins}It is rolled back by itself, and promoted once you agree: {approve}"
    return f"{begins}It is promoted or rolled back by itself: crossfade status {model} -w"


def _step_words(step: Step) -> str:
    return f"{'a copy of ' if step.mode == MODE_SHADOW else ''}{text.share(step.share_bps)}"


def _is_stable(answer: PublishVersionResponse, segment: str) -> bool:
    states = {one.segment: one.state for one in answer.version.states}
    return states.get(segment) == resources_pb2.VERSION_STATE_STABLE
