"""Commands that only look: status, models, versions, rollouts, explain, events, instances, route."""

import time
from typing import Annotated, Final

import typer

from crossfade.cli.context import Session, command
from crossfade.cli.errors import UsageError

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="The model.", show_default=False)]
EverySegmentOption = Annotated[
    str | None,
    typer.Option(
        "--segment", help="Only this segment's; '' is the default one.", show_default=False, metavar="SEGMENT"
    ),
]
StateOption = Annotated[
    list[str] | None,
    typer.Option("--state", help="Only those in this state; may be repeated.", show_default=False, metavar="STATE"),
]
OfVersionOption = Annotated[str, typer.Option("--version", help="Only those of this version.", metavar="VERSION")]
SegmentOption = Annotated[
    str, typer.Option("--segment", help="The lane's segment; default: the default segment.", metavar="SEGMENT")
]
RolloutOption = Annotated[
    int | None,
    typer.Option("--rollout", min=1, help="The rollout's number; default: the lane's live one.", metavar="N"),
]
_VERIFY: Final = "verify"
"""In the place of a model: the log is checked. A model of that name has its events among those of every model."""


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for function in (status, models, versions, rollouts, explain, events, instances, route):
        app.command(function.__name__)(command(function))


def status(
    session: Session,
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="Default: every model.", show_default=False)
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again and again, until Ctrl-C.")] = False,
    interval: Annotated[
        str, typer.Option("--interval", help="Time between two looks of --watch.", metavar="DURATION")
    ] = "2s",
    exit_code: Annotated[
        bool,
        typer.Option(
            "--exit-code",
            help="End with 10 while a rollout runs, 11 after one that was rolled back; with --watch, wait for its end.",
        ),
    ] = False,
) -> None:
    """Show versions, shares and figures, and the live rollout.

    harm and safe are log evidence over the bar that decides: 100 % decides.
    """
    from crossfade.cli.actions.watching import show_status

    show_status(session, model, watch=watch, interval=interval, exit_code=exit_code)


def models(session: Session) -> None:
    """List the models."""
    from crossfade.cli.registry_client import Registry
    from crossfade.cli.render.jsons import list_json
    from crossfade.cli.render.tables import models_table

    found = list(Registry(session.connect.registry()).models())
    session.show(list_json("models", found), lambda: models_table(found))


def versions(
    session: Session,
    what: Annotated[
        list[str],
        typer.Argument(metavar="MODEL | show MODEL VERSION", help="A model, or one version.", show_default=False),
    ],
    state: StateOption = None,
    segment: EverySegmentOption = None,
) -> None:
    """List a model's versions, or show one.

    One version: its state, its artifact, and what the workers measured before they called it ready.
    """
    from crossfade.cli.actions.named import require_named
    from crossfade.cli.options.lists import version_list
    from crossfade.cli.registry_client import Registry
    from crossfade.cli.render.jsons import list_json, to_json
    from crossfade.cli.render.tables import version_details, versions_table

    registry = Registry(session.connect.registry())
    match what:
        case [model]:
            found = list(registry.versions(model, version_list(state or [], segment)))
            if not found:
                require_named(registry, model, segment=segment)
            chosen = bool(state) or segment is not None
            session.show(list_json("versions", found), lambda: versions_table(model, found, chosen=chosen))
        case ["show", model, version]:
            one = registry.version(model, version)
            session.show(to_json(one), lambda: version_details(model, one))
        case _:
            raise UsageError("write crossfade versions MODEL, or crossfade versions show MODEL VERSION")


def rollouts(
    session: Session,
    model: ModelArgument,
    state: StateOption = None,
    version: OfVersionOption = "",
    segment: EverySegmentOption = None,
    number: Annotated[int, typer.Option("-n", min=1, help="At most so many.", metavar="N")] = 20,
) -> None:
    """List a model's rollouts, newest first."""
    from crossfade.cli.actions.named import require_named
    from crossfade.cli.options.lists import rollout_list
    from crossfade.cli.registry_client import Registry
    from crossfade.cli.render.jsons import list_json
    from crossfade.cli.render.tables import cut_off, rollouts_table

    only = rollout_list(state or [], version, segment)
    registry = Registry(session.connect.registry())
    newest = list(registry.rollouts(model, only, limit=number + 1))
    if not newest:
        require_named(registry, model, version=version, segment=segment)
    chosen = bool(state or version) or segment is not None
    found = newest[:number]
    session.show(
        list_json("rollouts", found),
        lambda: cut_off(
            rollouts_table(model, found, time.time(), chosen=chosen), len(newest), number, newest_first=True
        ),
    )


def explain(
    session: Session,
    model: ModelArgument,
    rollout: Annotated[
        int | None, typer.Option("--rollout", min=1, help="The rollout's number; default: the latest.", metavar="N")
    ] = None,
    segment: SegmentOption = "",
) -> None:
    """Explain why a rollout ended, or what it waits for."""
    from crossfade import names
    from crossfade.cli.actions.tries import earlier_tries
    from crossfade.cli.registry_client import Registry
    from crossfade.cli.render import explain as words
    from crossfade.cli.render.jsons import to_json
    from crossfade.cli.render.style import LIVE_STATES
    from crossfade.cli.render.tries import tries_sentence

    registry = Registry(session.connect.registry())
    if rollout is None:
        lane = registry.lane(model, segment)
        found = registry.latest_rollout(model, segment)
        if found is None:
            stable = lane.stable_version
            said = f"{stable} became stable at once, as the first version" if stable else "it has no stable version yet"
            session.show(
                {"rollout": None, "analysis": None, "earlier_tries": []}, lambda: f"{model} has had no rollout: {said}."
            )
            return
        # A list may leave out what a single answer has.
        found = registry.rollout(found.name)
    else:
        found = registry.rollout(names.rollout_name(model, rollout))
    analysis = registry.latest_analysis(found.name) if found.state in LIVE_STATES else None
    earlier = earlier_tries(registry, model, found)
    session.show(
        {
            "rollout": to_json(found),
            "analysis": to_json(analysis) if analysis else None,
            "earlier_tries": [one.name for one in earlier],
        },
        lambda: words.explain(model, found, analysis, time.time(), tries_sentence(found, earlier)),
        prose=True,
    )


def events(
    session: Session,
    first: Annotated[
        str | None, typer.Argument(metavar=_VERIFY, help="Check that nothing was altered or removed.")
    ] = None,
    second: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="Default: every model.", show_default=False)
    ] = None,
    rollout: Annotated[int | None, typer.Option("--rollout", min=1, help="Only this rollout's.", metavar="N")] = None,
    version: OfVersionOption = "",
    segment: EverySegmentOption = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--type", help="Only these, as in rollout-promoted; may be repeated.", show_default=False, metavar="TYPE"
        ),
    ] = None,
    since: Annotated[
        str, typer.Option("--since", help="2026-11-24 14:00, 14:00 (today) or 2h (ago).", metavar="TIME")
    ] = "",
    until: Annotated[str, typer.Option("--until", help="Before this moment.", metavar="TIME")] = "",
    number: Annotated[int, typer.Option("-n", min=1, help="At most so many.", metavar="N")] = 50,
    verify: Annotated[bool, typer.Option("--verify", help="As the word verify.")] = False,
) -> None:
    """Show who did what, when and why; the newest last."""
    import datetime as dt

    from crossfade import names
    from crossfade.cli.actions.named import require_named
    from crossfade.cli.actions.past import show_events
    from crossfade.cli.options.lists import event_list
    from crossfade.cli.registry_client import Registry

    model = second if first == _VERIFY else first
    verify = verify or first == _VERIFY
    if second is not None and model is not second:
        raise UsageError(f"one model's events at a time: drop {second}, or name no model")
    if rollout is not None and model is None and not verify:
        raise UsageError("--rollout takes a model: crossfade events MODEL --rollout N")
    registry = Registry(session.connect.registry())
    if verify:
        if rollout is not None or version or segment is not None or kind or since or until:
            raise UsageError(
                "--verify checks whole logs, from their first event to the last: drop what chooses among them"
            )
        from crossfade.cli.actions.verifying import verify_events

        verify_events(session, registry, model)
        return
    only = event_list(kind or [], version, segment, since, until, dt.datetime.now().astimezone())
    if model is not None and rollout is not None:
        only.rollout = names.rollout_name(model, rollout)
    newest = list(registry.events(model or "-", only, limit=number + 1))
    if model is not None and not newest:
        require_named(registry, model, version=version, rollout=rollout, segment=segment)
    show_events(session, newest, number)


def instances(session: Session) -> None:
    """List the processes, and what the workers serve."""
    from crossfade.cli.registry_client import Registry
    from crossfade.cli.render.jsons import list_json
    from crossfade.cli.render.tables import instances_table

    found = list(Registry(session.connect.registry()).instances())
    session.show(list_json("instances", found), lambda: instances_table(found, time.time()))


def route(
    session: Session,
    model: ModelArgument,
    key: Annotated[str, typer.Option("--key", help="Routing key: user, session.", metavar="KEY")] = "",
    segment: Annotated[str, typer.Option("--segment", help="The caller's segment.", metavar="SEGMENT")] = "",
    version: Annotated[
        str, typer.Option("--version", help="A pin: a version, @stable, @test or @previous.", metavar="VERSION")
    ] = "",
) -> None:
    """Show which version a request would get, and why.

    Nothing is sent to it.
    """
    from crossfade.cli.registry_client import checked
    from crossfade.cli.render.jsons import to_json
    from crossfade.cli.render.tables import route_text
    from crossfade.router.v1 import router_pb2, router_pb2_grpc

    if segment:
        checked(segment, "segment")
    router = session.connect.router()
    stub = router_pb2_grpc.RouterServiceStub(router.channel)
    request = router_pb2.GetRouteRequest(model=model, segment=segment, key=key, version=version)
    answer = router.call(stub.GetRoute, request)
    session.show(to_json(answer), lambda: route_text(model, answer))
