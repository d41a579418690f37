"""`python -m registry` serves; `python -m registry migrate [--check]` is `crossfade registry migrate`."""

import asyncio
import sys

from registry.app import App
from registry.database.engine import DatabaseUrlError
from registry.database.schema import SchemaError
from registry.migrating import migrate_database, require_database
from registry.settings import RegistrySettings
from services.common.errors import CrossfadeError
from services.common.process import serve
from services.common.server import AddressError
from services.common.start_errors import start_error

_USAGE = "usage: python -m registry [migrate [--check]]"


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
            asyncio.run(serve("registry", settings, App))
    except (AddressError, CrossfadeError, DatabaseUrlError, SchemaError, ValueError, OSError) as error:
        sys.stderr.write(f"registry: error: {start_error(error)}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
