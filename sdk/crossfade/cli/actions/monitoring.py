"""`crossfade monitor`: how a lane is watched while no rollout is live in it, and what stands out."""

import time

from rich.text import Text

from crossfade.cli import text
from crossfade.cli.context import Session
from crossfade.cli.errors import UsageError
from crossfade.cli.options.rollout import seconds_of
from crossfade.cli.registry_client import Registry, request_id
from crossfade.cli.render.jsons import to_json
from crossfade.cli.render.monitor import monitor_on, render_monitor, unseen
from crossfade.names import model_name
from crossfade.registry.v1.resources_pb2 import INSTANCE_KIND_EVALUATOR, Monitor
from crossfade.registry.v1.service_pb2 import SetMonitorRequest


def show_monitor(session: Session, model: str, segment: str) -> None:
    """Shows a lane's monitor."""
    registry = Registry(session.connect.registry())
    found = registry.monitor(model, segment)
    lane = registry.lane(model, segment)
    live = text.last_part(lane.rollout)
    first = ""
    if not found.sequence:
        evaluators = registry.instances(INSTANCE_KIND_EVALUATOR)
        first = unseen(lane.stable_version, live, evaluator=next(evaluators, None) is not None)
    session.show(to_json(found), lambda: text.join(render_monitor(found, model, live, time.time(), first)))


def change_monitor(
    session: Session, model: str, segment: str, *, on: bool | None, undo: bool | None, learn: str, reason: str
) -> None:
    """Changes how a lane is watched; what is not given stays.

    Raises:
        UsageError: `learn` is no duration, or an undo is asked for where nothing is watched.
    """
    if on is False and undo:
        raise UsageError("--off watches nothing, so that nothing can be undone: use --undo without it")
    registry = Registry(session.connect.registry())
    request = SetMonitorRequest(model=model_name(model), segment=segment, reason=reason, request_id=request_id())
    # What is not asked for may change meanwhile: an undo takes the wish for another one back.
    if on is not None:
        request.settings.off = not on
        request.update_mask.paths.append("off")
    if undo is not None:
        request.settings.undo = undo
        request.update_mask.paths.append("undo")
    if learn:
        request.update_mask.paths.append("learn")
        request.settings.learn.FromMilliseconds(round(seconds_of(learn, "--learn") * 1000))
    after = registry.set_monitor(request)
    session.show(to_json(after), lambda: Text(_changed(after, model, off=on is False)))


def _changed(after: Monitor, model: str, *, off: bool) -> str:
    """What is so now; `off`: that it is not watched is what was asked for."""
    name = f"{model} {after.segment}".rstrip()
    if off:
        return f"{name} is not watched any more: {monitor_on(model, after.segment)} watches it again"
    if after.settings.off:
        return (
            f"{name} is not watched; what was changed counts once {monitor_on(model, after.segment)} watches it again"
        )
    learn = text.span(text.duration_seconds(after.settings.learn))
    then = "makes the version before stable again, once" if after.settings.undo else "is told and changes nothing"
    return f"{name} is watched while no rollout is live: a version's past is learnt for {learn}, and an alert {then}"
