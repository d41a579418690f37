"""What was production when: a model as of a moment, and the changes of what is stable."""

import datetime as dt
from collections.abc import Sequence
from typing import Final

from rich.text import Text

from crossfade.cli import text
from crossfade.cli.context import Session
from crossfade.cli.errors import UsageError
from crossfade.cli.registry_client import Registry, checked
from crossfade.cli.render.jsons import list_json, to_json
from crossfade.cli.render.style import version_word, word
from crossfade.cli.render.tables import cut_off, events_table
from crossfade.cli.when import parse_when
from crossfade.names import model_name
from crossfade.registry.v1.resources_pb2 import Event, Model
from crossfade.registry.v1.service_pb2 import GetModelRequest, ListEventsRequest

_CHANGES: Final = ("VERSION_STABLE", "ROLLOUT_PROMOTED", "LANE_UNDONE", "SEGMENT_SET", "SEGMENT_DELETED")


def show_moment(session: Session, model: str, at: str | None, revision: int) -> None:
    """A model as of a moment.

    Args:
        session: the command's run.
        model: the model's id.
        at: the moment, as `parse_when` reads it; None: the revision's.
        revision: of the routes; 0: the moment's.
    """
    if at is not None and revision:
        raise UsageError("--at and --revision both say when: give one of them")
    request = GetModelRequest(name=model_name(checked(model, "model")), revision=revision)
    when = f"at revision {revision}"
    if at is not None:
        # In this machine's zone, as every time below it, however it was written.
        moment = parse_when(at, "--at", dt.datetime.now().astimezone()).astimezone()
        request.read_time.FromDatetime(moment)
        when = f"at {moment:%Y-%m-%d %H:%M:%S %Z}"
    found = Registry(session.connect.registry()).past_model(request)
    session.show(to_json(found), lambda: past_text(model, when, found))


def show_changes(session: Session, model: str, number: int) -> None:
    """The changes of what is stable, the newest last."""
    only = ListEventsRequest(types=_CHANGES)
    show_events(session, list(Registry(session.connect.registry()).events(model, only, limit=number + 1)), number)


def show_events(session: Session, newest: Sequence[Event], number: int) -> None:
    """The `number` newest of these events, which begin with the newest, that one last; one more tells of older ones."""
    found = newest[number - 1 :: -1]
    session.show(list_json("events", found), lambda: cut_off(events_table(found), len(newest), number), prose=True)


def past_text(model: str, when: str, past: Model, zone: dt.tzinfo | None = None) -> Text:
    """A model as of a moment."""
    lines = [Text(f"{model} {when}", "bold")]
    for lane in past.lanes:
        segment = f" ({lane.segment})" if lane.segment else ""
        if lane.segment and not lane.stable_version:
            lines.append(Text(f" stable{segment}: no lane of its own; its calls go to the default one"))
            continue
        since = f" since {text.moment(lane.stable_since, zone)}" if lane.HasField("stable_since") else ""
        lines.append(Text(f" stable{segment}: {lane.stable_version or 'none'}{since}"))
        if lane.rollout:
            lines.append(Text(f" tested{segment}: rollout {text.last_part(lane.rollout)}"))
        rows: list[list[str | Text]] = [
            [one.version, word(version_word(one.state)), f"since {text.moment(one.state_time, zone)}"]
            for one in lane.versions
        ]
        lines.extend(text.columns(rows, indent=2))
    return text.join(lines) if past.lanes else Text(f"{model} {when}: no version yet")
