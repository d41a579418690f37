"""`python -m services.worker`: one Worker, with settings from the environment."""


def main() -> None:
    """Runs until SIGTERM, SIGINT or SIGHUP."""
    # Imported here because the versions' processes import this module again, and need none of it.
    from services.common.process import run
    from services.worker.app import App
    from services.worker.settings import WorkerSettings
    from services.worker.supervisor.process import end_server

    try:
        run("worker", WorkerSettings, App)
    finally:
        end_server()


if __name__ == "__main__":
    main()
