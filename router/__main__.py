"""`python -m router`: one Router, with its settings from the environment (CROSSFADE_…)."""

from router.app import App
from router.settings import RouterSettings
from services.common.process import run


def main() -> None:
    """Runs until SIGTERM or SIGINT."""
    run("router", RouterSettings, App)


if __name__ == "__main__":
    main()
