"""`python -m registry` serves; `python -m registry migrate [--check]` is `crossfade registry migrate`."""

import asyncio
import sys

from registry.app import SERVICE_NAME, App
from registry.database.engine import DatabaseUrlError
from registry.database.schema import SchemaError
from registry.migrating import migrate_database, require_database
from registry.settings import RegistrySettings
from services.common.descriptors import raise_limit
from services.common.errors import CrossfadeError
from services.common.server import AddressError, run_until_signal
from services.common.start_errors import start_error
from services.common.telemetry.logs import make_log

_USAGE = "usage: python -m registry [migrate [--check]]"


async def _serve(settings: RegistrySettings) -> None:
    raise_limit()
    app = App(settings)
    await run_until_signal(app.start, app.stop, make_log(SERVICE_NAME, settings.log_level))


def main(arguments: list[str]) -> int:
    """Runs the command; answers the exit code."""
    if arguments not in ([], ["migrate"], ["migrate", "--check"]):
        sys.stderr.write(_USAGE + "\n")
        return 2
    try:
        settings = RegistrySettings()
        if arguments:
            sys.stdout.write(migrate_database(settings, check_only="--check" in arguments).sentence + "\n")
        else:
            require_database(settings)
            asyncio.run(_serve(settings))
    except (AddressError, CrossfadeError, DatabaseUrlError, SchemaError, ValueError, OSError) as error:
        sys.stderr.write(f"registry: error: {start_error(error)}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
