"""Commands of a person over a rollout: approve, promote, rollback, pause, resume, abort, advance."""

from typing import Annotated

import typer

from crossfade.cli.commands.look import ModelArgument, RolloutOption, SegmentOption
from crossfade.cli.context import Session, command

ReasonOption = Annotated[
    str, typer.Option("--reason", help="Why, in one sentence; it stands in the audit log.", metavar="TEXT")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Although too few workers have the version ready.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for function in (approve, promote, rollback, pause, resume, abort, advance):
        app.command(function.__name__)(command(function, changes=True))


def approve(
    session: Session,
    model: ModelArgument,
    rollout: RolloutOption = None,
    segment: SegmentOption = "",
    reason: ReasonOption = "",
) -> None:
    """Agree to a promotion that waits for it.

    It may be given ahead of time: the version is promoted when it has passed.
    """
    from crossfade.cli.actions.transitions import Target, approve_rollout

    approve_rollout(session, Target(model, segment, rollout, reason))


def promote(
    session: Session,
    model: ModelArgument,
    rollout: RolloutOption = None,
    segment: SegmentOption = "",
    reason: ReasonOption = "",
    force: ForceOption = False,
) -> None:
    """Make the tested version stable now."""
    from crossfade.cli.actions.transitions import Target, promote_rollout

    promote_rollout(session, Target(model, segment, rollout, reason), force=force)


def rollback(
    session: Session,
    model: ModelArgument,
    rollout: RolloutOption = None,
    segment: SegmentOption = "",
    reason: ReasonOption = "",
) -> None:
    """Mark the tested version FAILED.

    Every request goes to the stable one.
    """
    from crossfade.cli.actions.transitions import Target, roll_back_rollout

    roll_back_rollout(session, Target(model, segment, rollout, reason))


def pause(
    session: Session,
    model: ModelArgument,
    rollout: RolloutOption = None,
    segment: SegmentOption = "",
    reason: ReasonOption = "",
) -> None:
    """Stop the plan's clock; the share stays.

    Harm is still judged.
    """
    from crossfade.cli.actions.transitions import Target, pause_rollout

    pause_rollout(session, Target(model, segment, rollout, reason))


def resume(
    session: Session,
    model: ModelArgument,
    rollout: RolloutOption = None,
    segment: SegmentOption = "",
    reason: ReasonOption = "",
) -> None:
    """Let a paused rollout go on."""
    from crossfade.cli.actions.transitions import Target, resume_rollout

    resume_rollout(session, Target(model, segment, rollout, reason))


def abort(
    session: Session,
    model: ModelArgument,
    rollout: RolloutOption = None,
    segment: SegmentOption = "",
    reason: ReasonOption = "",
) -> None:
    """End the rollout; its version is PENDING again.

    The version is not blamed: it can be started again.
    """
    from crossfade.cli.actions.transitions import Target, abort_rollout

    abort_rollout(session, Target(model, segment, rollout, reason))


def advance(
    session: Session,
    model: ModelArgument,
    rollout: RolloutOption = None,
    segment: SegmentOption = "",
    reason: ReasonOption = "",
    force: ForceOption = False,
) -> None:
    """Go to the plan's next step."""
    from crossfade.cli.actions.transitions import Target, advance_rollout

    advance_rollout(session, Target(model, segment, rollout, reason), force=force)
