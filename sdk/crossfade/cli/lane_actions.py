"""What a person does to a lane without a rollout: try, undo, withdraw; with its etag, so that no change is overrun."""

from crossfade.cli import text
from crossfade.cli.context import Session
from crossfade.cli.jsons import to_json
from crossfade.cli.publishing import act_on_lane, follow, load_progress
from crossfade.cli.registry_client import Registry, checked, request_id
from crossfade.names import model_name, version_name
from crossfade.registry.v1 import resources_pb2
from crossfade.registry.v1.service_pb2 import LoadVersionRequest, UndoLaneRequest, WithdrawVersionRequest


def undo_lane(session: Session, model: str, request: UndoLaneRequest) -> None:
    """Makes an earlier version stable again.

    Args:
        session: the command's run.
        model: the model's id.
        request: what is wanted; name, etag and id are filled in here.
    """
    registry = Registry(session.connect.registry())
    before = registry.lane(model, request.segment)
    request.model = model_name(model)
    request.etag = before.etag
    request.request_id = request_id()
    after = act_on_lane(model, registry.undo, request, again="say it again")
    session.show(to_json(after), lambda: _undone(before, after, bad=request.bad))


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
        etag=registry.lane(model, segment).etag,
        request_id=request_id(),
    )
    request.ttl.FromMilliseconds(round(seconds * 1000))
    after = act_on_lane(model, registry.load, request, again="say it again")
    session.show(to_json(after), lambda: _loaded(model, version, seconds))
    if seconds and wait is not None:
        follow(session, model, load_progress(registry, model, version), wait)


def _loaded(model: str, version: str, seconds: float) -> str:
    if not seconds:
        return f"{version} is let go"
    return (
        f"{version} is loaded for {text.span(seconds)} and gets no traffic; a pinned call reaches it:\n"
        f"crossfade predict {model} ROWS --version {version}"
    )


def withdraw_version(session: Session, model: str, version: str, segment: str, reason: str) -> None:
    """Takes a PENDING version back."""
    registry = Registry(session.connect.registry())
    request = WithdrawVersionRequest(
        name=version_name(model, checked(version, "version")),
        segment=segment,
        etag=registry.lane(model, segment).etag,
        reason=reason,
        request_id=request_id(),
    )
    after = act_on_lane(model, registry.withdraw, request, again="say it again")
    session.show(to_json(after), lambda: f"{version} is WITHDRAWN: it never gets requests here")


def _undone(before: resources_pb2.Lane, after: resources_pb2.Lane, *, bad: bool) -> str:
    state = "FAILED" if bad else "DEPRECATED"
    return f"{after.stable_version} is STABLE again and gets every request; {before.stable_version} is {state}"
