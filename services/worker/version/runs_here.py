"""What a front-end runs itself, if the version's program is light."""

from crossfade.manifest import Manifest, Precision
from services.common.clock import SystemClock
from services.common.telemetry.logs import make_log
from services.common.text import first_line
from services.worker.engine.inline import Inline, take_over
from services.worker.process_config import ChildConfig


def runs_here(light: bytes, config: ChildConfig, manifest: Manifest, precision: str) -> Inline | None:
    """What runs single rows in this process; None: nothing, the engine runs all.

    Args:
        light: the program, as the engine has handed it over; empty: it is not light.
        config: what is served, where.
        manifest: the version's.
        precision: what it runs in.
    """
    if not light:
        return None
    try:
        return take_over(light, config.folder, manifest, Precision(precision), SystemClock())
    except Exception as error:  # noqa: BLE001 - whatever it was, the engine has shown that it can
        log = make_log("crossfade-worker", config.settings.log_level).bind(serving=str(config.key))
        log.warning("rows that come alone are run by the engine too", reason=first_line(error))
        return None
