"""Commands over a model and its lanes: describe, segment set, segment delete, undo, withdraw, history, monitor."""

from typing import Annotated

import typer

from crossfade.cli.commands.look import ModelArgument, SegmentOption
from crossfade.cli.commands.rollout import ForceOption, ReasonOption
from crossfade.cli.context import Session, command
from crossfade.cli.errors import UsageError

SegmentArgument = Annotated[str, typer.Argument(metavar="SEGMENT", help="The segment.", show_default=False)]
CancelOption = Annotated[bool, typer.Option("--cancel-rollout", help="End a live rollout first.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for function in (describe, undo, withdraw, history, monitor):
        app.command(function.__name__)(command(function, changes=function is not history))
    segment = typer.Typer(help="Give segments lanes of their own.", rich_markup_mode=None, no_args_is_help=True)
    segment.command("set")(command(set_segment, changes=True))
    segment.command("delete")(command(delete_segment, changes=True))
    app.add_typer(segment, name="segment")


def describe(
    session: Session,
    model: ModelArgument,
    description: Annotated[str, typer.Argument(metavar="TEXT", help="What it is for.", show_default=False)],
) -> None:
    """Say what a model is for."""
    from crossfade.cli.actions.lane_actions import describe_model

    describe_model(session, model, description)


def set_segment(
    session: Session,
    model: ModelArgument,
    segment: SegmentArgument,
    version: Annotated[
        str,
        typer.Option(
            "--version", help="Its stable version; default: the default lane's.", show_default=False, metavar="VERSION"
        ),
    ] = "",
    reason: ReasonOption = "",
    force: ForceOption = False,
) -> None:
    """Give a segment a lane of its own.

    Its requests (those with this x-crossfade-segment) then have a stable version and rollouts of their own.
    """
    from crossfade.cli.actions.lane_actions import give_segment

    give_segment(session, model, segment, version, reason, force=force)


def delete_segment(
    session: Session,
    model: ModelArgument,
    segment: SegmentArgument,
    cancel_rollout: CancelOption = False,
    reason: ReasonOption = "",
    force: Annotated[
        bool, typer.Option("--force", help="Although the default lane has nothing for them, or what has failed here.")
    ] = False,
) -> None:
    """Take a segment's lane away.

    Its requests go to the default lane again.
    """
    from crossfade.cli.actions.lane_actions import drop_segment

    drop_segment(session, model, segment, reason, cancel_rollout=cancel_rollout, force=force)


def undo(
    session: Session,
    model: ModelArgument,
    to: Annotated[
        str, typer.Option("--to", help="A version that was stable before; default: the one before.", metavar="VERSION")
    ] = "",
    segment: SegmentOption = "",
    bad: Annotated[bool, typer.Option("--bad", help="The present version is FAILED for ever, not DEPRECATED.")] = False,
    cancel_rollout: CancelOption = False,
    reason: ReasonOption = "",
    force: ForceOption = False,
) -> None:
    """Make an earlier version stable again."""
    from crossfade.cli.actions.lane_actions import undo_lane
    from crossfade.registry.v1.service_pb2 import UndoLaneRequest

    request = UndoLaneRequest(
        segment=segment, version=to, bad=bad, cancel_rollout=cancel_rollout, force=force, reason=reason
    )
    undo_lane(session, model, request)


def withdraw(
    session: Session,
    model: ModelArgument,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="A PENDING version.", show_default=False)],
    segment: SegmentOption = "",
    reason: ReasonOption = "",
) -> None:
    """Take a version back before it had requests; it is never tested."""
    from crossfade.cli.actions.lane_actions import withdraw_version

    withdraw_version(session, model, version, segment, reason)


def history(
    session: Session,
    model: ModelArgument,
    at: Annotated[
        str | None,
        typer.Option("--at", help="2026-11-24 14:00, 14:00 (today) or 2h (ago).", show_default=False, metavar="TIME"),
    ] = None,
    revision: Annotated[
        int, typer.Option("--revision", min=0, help="Of the routes, instead of a time.", metavar="N")
    ] = 0,
    number: Annotated[int, typer.Option("-n", min=1, help="At most so many changes.", metavar="N")] = 20,
) -> None:
    """Show what was production when.

    With --at or --revision: as of then. Otherwise: each change of what is stable, the newest last.
    """
    from crossfade.cli.actions.past import show_changes, show_moment

    # An empty moment, as of a script's variable that is not set, is not the same as none.
    if at is not None or revision:
        show_moment(session, model, at, revision)
    else:
        show_changes(session, model, number)


def monitor(
    session: Session,
    model: ModelArgument,
    segment: SegmentOption = "",
    on: Annotated[bool | None, typer.Option("--on/--off", help="Watch it, or not.", show_default=False)] = None,
    undo: Annotated[
        bool | None,
        typer.Option("--undo/--no-undo", help="An alert makes the version before stable again.", show_default=False),
    ] = None,
    learn: Annotated[
        str, typer.Option("--learn", help="How long a version's past is learnt, as 1d or 2h.", metavar="DURATION")
    ] = "",
    reason: ReasonOption = "",
) -> None:
    """Show what stands out without a rollout, or change the watch.

    The lane's stable version is held against its reference profile and against its own first day.
    """
    from crossfade.cli.actions.monitoring import change_monitor, show_monitor

    if on is None and undo is None and not learn:
        if reason:
            raise UsageError("--reason says why something is changed: give what is changed, too (--off, --learn 1d)")
        show_monitor(session, model, segment)
    else:
        change_monitor(session, model, segment, on=on, undo=undo, learn=learn, reason=reason)
