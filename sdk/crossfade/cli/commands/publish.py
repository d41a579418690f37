"""Commands that bring versions in: publish, start, try."""

from pathlib import Path
from typing import Annotated

import typer

from crossfade.cli.commands.look import ModelArgument, SegmentOption
from crossfade.cli.context import Session, command

PlanOption = Annotated[
    str,
    typer.Option("--plan", help="Shares step by step: 5%,25%, or 5%:10m,25%:1h, or shadow 20%,5%.", metavar="STEPS"),
]
ShareOption = Annotated[str, typer.Option("--share", help="Share of one step; default: 5%.", metavar="SHARE")]
PeriodOption = Annotated[
    str, typer.Option("--period", help="How long a step may take; default: 1h.", metavar="DURATION")
]
PolicyOption = Annotated[
    str, typer.Option("--policy", help="Policy file (YAML); see crossfade policy check.", metavar="FILE")
]
AssignmentOption = Annotated[
    str,
    typer.Option(
        "--assignment", help="request: each is drawn by itself (default); key: sticky by routing key.", metavar="HOW"
    ),
]
ObjectiveOption = Annotated[
    str,
    typer.Option(
        "--objective",
        help="non-inferior: no worse than stable (default); superior: an A/B test, better in the primary gate.",
        metavar="OBJECTIVE",
    ),
]
ApprovalOption = Annotated[bool, typer.Option("--approval", help="Promote it only after crossfade approve.")]
IncompatibleOption = Annotated[
    bool, typer.Option("--allow-incompatible", help="Although its signature differs from the stable version's.")
]
WaitOption = Annotated[bool, typer.Option("--wait", help="Wait for the outcome; end with 0 only if it is a good one.")]
TimeoutOption = Annotated[str, typer.Option("--timeout", help="Longest time of --wait.", metavar="DURATION")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for changing in (publish, start, try_):
        app.command(changing.__name__.rstrip("_"))(command(changing, changes=True))


def publish(
    session: Session,
    model: ModelArgument,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The artifact's folder.", show_default=False)],
    version: Annotated[str, typer.Option("--version", help="Its id; default: the next vN.", metavar="VERSION")] = "",
    uri: Annotated[
        str,
        typer.Option("--uri", help="Where workers fetch the same folder (s3://…); default: file://DIR.", metavar="URI"),
    ] = "",
    description: Annotated[str, typer.Option("--description", help="What changed.", metavar="TEXT")] = "",
    segment: SegmentOption = "",
    plan: PlanOption = "",
    share: ShareOption = "",
    period: PeriodOption = "",
    policy: PolicyOption = "",
    assignment: AssignmentOption = "",
    objective: ObjectiveOption = "",
    approval: ApprovalOption = False,
    without_rollout: Annotated[
        bool, typer.Option("--without-rollout", help="Publish it as PENDING and start nothing.")
    ] = False,
    allow_incompatible: IncompatibleOption = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = "2h",
) -> None:
    """Publish a version.

    The first of its lane is stable at once; later ones get a watched rollout. The model is made if there is none.
    """
    from crossfade.cli.actions.publishing import publish_version
    from crossfade.cli.options.rollout import rollout_spec, wait_seconds
    from crossfade.registry.v1.service_pb2 import PublishVersionRequest

    spec = rollout_spec(plan, share, period, policy, assignment, objective=objective, approval=approval)
    request = PublishVersionRequest(
        version_id=version,
        segment=segment,
        # The Registry refuses a rollout beside without_rollout, even one that says nothing.
        rollout=spec if spec.ByteSize() else None,
        without_rollout=without_rollout,
        allow_incompatible=allow_incompatible,
    )
    publish_version(session, model, folder, uri, description, request, wait_seconds(timeout, wait=wait))


def start(
    session: Session,
    model: ModelArgument,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="A PENDING version.", show_default=False)],
    segment: SegmentOption = "",
    plan: PlanOption = "",
    share: ShareOption = "",
    period: PeriodOption = "",
    policy: PolicyOption = "",
    assignment: AssignmentOption = "",
    objective: ObjectiveOption = "",
    approval: ApprovalOption = False,
    allow_incompatible: IncompatibleOption = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = "2h",
) -> None:
    """Start the rollout of a version that is PENDING."""
    from crossfade.cli.actions.publishing import start_rollout
    from crossfade.cli.options.rollout import rollout_spec, wait_seconds

    spec = rollout_spec(plan, share, period, policy, assignment, objective=objective, approval=approval)
    start_rollout(
        session,
        model,
        version,
        segment,
        spec,
        allow_incompatible=allow_incompatible,
        wait=wait_seconds(timeout, wait=wait),
    )


def try_(
    session: Session,
    model: ModelArgument,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="A published version.", show_default=False)],
    segment: SegmentOption = "",
    ttl: Annotated[str, typer.Option("--ttl", help="For how long, 7d at most.", metavar="DURATION")] = "1h",
    off: Annotated[bool, typer.Option("--off", help="Let it go.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until a worker has it ready.")] = False,
    timeout: TimeoutOption = "15m",
) -> None:
    """Load a version for pinned calls, without traffic."""
    from crossfade.cli.actions.lane_actions import try_version
    from crossfade.cli.options.rollout import seconds_of, wait_seconds

    try_version(
        session, model, version, segment, 0.0 if off else seconds_of(ttl, "--ttl"), wait_seconds(timeout, wait=wait)
    )
