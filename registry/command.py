"""`crossfade registry`: what is done to a Registry's database by hand."""

from typing import Annotated

import typer

from crossfade.cli.errors import CommandError
from crossfade.cli.plain import json_block
from registry.database.engine import DatabaseUrlError
from registry.database.schema import SchemaError
from registry.migrating import migrate_database
from registry.settings import RegistrySettings
from services.common.start_errors import start_error

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _registry() -> None:
    """Look after a Registry's database (CROSSFADE_DATABASE)."""


@app.command()
def migrate(
    ctx: typer.Context,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; end with 1 unless it fits.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Bring the database's schema to this release's.

    It may be stopped and run again at any point, and beside others.
    """
    try:
        found = migrate_database(RegistrySettings(), check_only=check)
    except (DatabaseUrlError, SchemaError, ValueError, OSError) as error:
        raise CommandError(start_error(error)) from error
    # `crossfade --json registry migrate` says the same as `crossfade registry migrate --json`.
    if as_json or getattr(ctx.find_root().obj, "json", False):
        typer.echo(json_block({"schema": found.schema, "changed": found.changed}))
    else:
        typer.echo(found.sentence)
