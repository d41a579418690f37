"""A service's process: settings in, one clear line out when it cannot start."""

import asyncio
import sys
from collections.abc import Callable
from typing import Protocol, TypeVar

from services.common.descriptors import raise_limit
from services.common.server import AddressError, run_until_signal
from services.common.settings import ServiceSettings
from services.common.start_errors import start_error
from services.common.telemetry.logs import make_log

SettingsT = TypeVar("SettingsT", bound=ServiceSettings)


class Application(Protocol):
    """What a service's app.py wires."""

    async def start(self) -> None:
        """Serves."""

    async def stop(self) -> None:
        """Ends in order."""


async def serve(name: str, settings: SettingsT, make: Callable[[SettingsT], Application]) -> None:
    """Serves until SIGTERM or SIGINT, with as many file descriptors as the system allows; the arguments are `run`'s."""
    raise_limit()
    application = make(settings)
    await run_until_signal(application.start, application.stop, make_log(f"crossfade-{name}", settings.log_level))


def run(name: str, settings: type[SettingsT], make: Callable[[SettingsT], Application]) -> None:
    """Runs a service until SIGTERM or SIGINT; exits with 1 and one line when it cannot start.

    Args:
        name: the service's, for the line.
        settings: read from the environment.
        make: wires the application, on the running loop.
    """
    try:
        asyncio.run(serve(name, settings(), make))
    except (AddressError, ValueError, OSError) as error:
        sys.exit(f"{name}: error: {start_error(error)}")
