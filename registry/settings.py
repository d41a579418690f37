"""The Registry's settings."""

from pathlib import Path

from pydantic import Field

from services.common.settings import ServiceSettings


class RegistrySettings(ServiceSettings):
    """Settings of the Registry, from the environment (CROSSFADE_…) or from arguments.

    Attributes:
        listen: host:port of the gRPC server.
        database: URL, as cockroachdb+psycopg://USER@HOST:26257/DATABASE, for CockroachDB and PostgreSQL alike.
        database_password_file: file that holds the database's password, which then need not stand in the URL.
        database_connections: transactions at a time.
        sweep_seconds: time between two looks for expired leases.
        watch_poll_seconds: time between two looks for routes that another replica has written.
        heartbeat_seconds: a watch without news gets a sign of life this often.
        readiness_debounce_seconds: a version that loads again counts as ready for this long.
        route_changes_kept: revisions that a watch can be resumed from.
        request_days: answers to mutations are kept for this long.
    """

    listen: str = "127.0.0.1:8400"
    database: str = ""
    database_password_file: Path | None = None
    database_connections: int = Field(default=8, ge=1, le=200)
    sweep_seconds: float = Field(default=1.0, gt=0, le=60)
    watch_poll_seconds: float = Field(default=0.1, gt=0, le=10)
    heartbeat_seconds: float = Field(default=10.0, gt=0, le=10)
    readiness_debounce_seconds: float = Field(default=3.0, ge=0, le=60)
    route_changes_kept: int = Field(default=10_000, ge=1)
    request_days: float = Field(default=7.0, gt=0)
