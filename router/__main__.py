"""`python -m router`: one Router, with its settings from the environment (CROSSFADE_…)."""

from services.common.polling import poll_in_place


def main() -> None:
    """Runs until SIGTERM or SIGINT."""
    poll_in_place()
    # Imported here because they import grpc.
    from router.app import App
    from router.settings import RouterSettings
    from services.common.process import run

    run("router", RouterSettings, App)


if __name__ == "__main__":
    main()
