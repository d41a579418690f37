"""Commands over webhooks: who is told of events over HTTP, and what becomes of what they do not take."""

import time
from typing import Annotated

import typer

from crossfade.cli.context import Session, command

NameArgument = Annotated[str, typer.Argument(metavar="WEBHOOK", help="The webhook's name.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(rich_markup_mode=None, invoke_without_command=True)
    group.callback()(command(webhooks))
    group.command("retry")(command(retry))
    group.command("drop")(command(drop))
    app.add_typer(group, name="webhooks")


def webhooks(session: Session) -> None:
    """List who is told of events over HTTP, and what waits for them."""
    from crossfade.cli.registry_client import Registry
    from crossfade.cli.render.jsons import list_json
    from crossfade.cli.render.tables import webhooks_table

    found = Registry(session.connect.registry()).webhooks()
    session.show(list_json("webhooks", found), lambda: webhooks_table(found, time.time()))


def retry(session: Session, name: NameArgument) -> None:
    """Try a webhook again whose receiver is well.

    Its pause ends within half a minute, and so do those of the events that it refused.
    """
    from crossfade.cli import text
    from crossfade.cli.registry_client import Registry
    from crossfade.cli.render.jsons import to_json

    found = Registry(session.connect.registry()).retry_webhook(name)
    waiting = text.plural(found.undelivered, "event") if found.undelivered else "nothing"
    session.show(to_json(found), lambda: f"{name} has yet to be told {waiting}; it is tried within half a minute")


def drop(
    session: Session,
    name: NameArgument,
    model: Annotated[str, typer.Option("--model", help="Only this model's events.", metavar="MODEL")] = "",
    before: Annotated[
        str, typer.Option("--before", help="Only older ones: 2026-11-24 14:00, 14:00 or 2h.", metavar="TIME")
    ] = "",
) -> None:
    """Forget what a webhook has yet to be told.

    `crossfade events` has it still.
    """
    import datetime as dt

    from crossfade import names
    from crossfade.cli import text
    from crossfade.cli.registry_client import Registry, checked
    from crossfade.cli.when import parse_when
    from crossfade.registry.v1.service_pb2 import DropDeliveriesRequest

    request = DropDeliveriesRequest(webhook=name)
    if model:
        request.model = names.model_name(checked(model, "model"))
    if before:
        request.before.FromDatetime(parse_when(before, "--before", dt.datetime.now().astimezone()))
    dropped = Registry(session.connect.registry()).drop_deliveries(request)
    session.show({"dropped": dropped}, lambda: f"{name} is not told of {text.plural(dropped, 'event')}")
