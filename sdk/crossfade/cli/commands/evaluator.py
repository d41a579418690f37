"""Commands that ask the Evaluator what would be: forecast, replay."""

from typing import Annotated

import typer

from crossfade.cli.commands.look import ModelArgument, SegmentOption
from crossfade.cli.commands.publish import (
    AssignmentOption,
    ObjectiveOption,
    PeriodOption,
    PlanOption,
    PolicyOption,
    ShareOption,
)
from crossfade.cli.context import Session, command


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for function in (forecast, replay):
        app.command(function.__name__)(command(function))


def forecast(
    session: Session,
    model: ModelArgument,
    drop: Annotated[
        list[str] | None,
        typer.Option(
            "--drop",
            help="A harm to a gate: f1=0.02, accuracy=0.02, errors=1%; may be repeated.",
            show_default=False,
            metavar="GATE=HARM",
        ),
    ] = None,
    segment: SegmentOption = "",
    version: Annotated[
        str, typer.Option("--version", help="Whose classes count; default: the stable one's.", metavar="VERSION")
    ] = "",
    plan: PlanOption = "",
    share: ShareOption = "",
    period: PeriodOption = "",
    policy: PolicyOption = "",
    assignment: AssignmentOption = "",
    objective: ObjectiveOption = "",
    watch: Annotated[
        str, typer.Option("--watch", help="For how long traffic is watched, 1s to 60s.", metavar="DURATION")
    ] = "10s",
) -> None:
    """Show what a rollout needs at the model's present traffic.

    Requests, batches and labels per gate, and how long they take.
    """
    from crossfade.cli.actions.forecasting import show_forecast
    from crossfade.cli.options.rollout import rollout_spec, seconds_of

    spec = rollout_spec(plan, share, period, policy, assignment, objective=objective)
    show_forecast(session, model, segment, version, spec, drop or [], seconds_of(watch, "--watch"))


def replay(
    session: Session,
    model: ModelArgument,
    rollout: Annotated[
        int | None, typer.Option("--rollout", min=1, help="The rollout's number; default: the latest.", metavar="N")
    ] = None,
    segment: SegmentOption = "",
    policy: PolicyOption = "",
    objective: ObjectiveOption = "",
    itself: Annotated[bool, typer.Option("--itself", help="Judge the stable version against itself (A/A).")] = False,
) -> None:
    """Show what another policy would have decided, and when.

    Of a rollout, from its recorded looks alone; without --policy by its own. With --itself: what the judge would have
    said of stable's control arm against the rest of stable. Harm there means that it is misled by the traffic.
    """
    from crossfade.cli.actions.replaying import replay_rollout

    replay_rollout(session, model, segment, rollout, policy, objective, itself=itself)
