"""`python -m registry` serves; `python -m registry migrate` brings the database's schema up to date."""

import asyncio
import sys

from pydantic import ValidationError

from registry.app import App, open_database
from registry.database.engine import DatabaseUrlError
from registry.database.schema import SchemaError, migrate
from registry.settings import RegistrySettings
from services.common.server import AddressError, run_until_signal

_USAGE = "usage: python -m registry [migrate]"


def _migrate(settings: RegistrySettings) -> None:
    engine = open_database(settings)
    try:
        revision = migrate(engine)
    finally:
        engine.dispose()
    sys.stdout.write(f"the database has schema {revision}\n")


async def _serve(settings: RegistrySettings) -> None:
    app = App(settings)
    await run_until_signal(app.start, app.stop)


def main(arguments: list[str]) -> int:
    """Runs the command; answers the exit code."""
    if arguments not in ([], ["migrate"]):
        sys.stderr.write(_USAGE + "\n")
        return 2
    try:
        settings = RegistrySettings()
        if not settings.database:
            raise DatabaseUrlError(
                "CROSSFADE_DATABASE is not set: write cockroachdb+psycopg://USER@HOST:26257/DATABASE"
            )
        if arguments:
            _migrate(settings)
        else:
            asyncio.run(_serve(settings))
    except (AddressError, SchemaError, ValidationError, ValueError, OSError) as error:
        line = " ".join(str(error).split())
        sys.stderr.write(f"registry: {line}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
