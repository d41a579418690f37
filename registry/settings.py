"""The Registry's settings."""

from pathlib import Path

from pydantic import Field

from registry.service.retention import Kept
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
        watches_per_principal: watches of the routes that callers of one name may have at this replica at a time. Each
            Router and each Worker has one, and for a minute and a half one more after its connection was lost.
        readiness_debounce_seconds: a version that loads again counts as ready for this long.
        give_way_seconds: what an Evaluator asks for waits this long, so that a person's action of the same moment wins;
            half of the Evaluator's CROSSFADE_REGISTRY_SECONDS at most.
        route_changes_kept: revisions that a watch can be resumed from.
        request_days: answers to mutations are kept for this long.
        event_days: events are kept for this long; 0: for ever.
        analysis_days: recorded looks are kept for this long after their rollout has ended; 0: for ever.
        webhooks: file that names the webhooks (TOML, see docs/registry.md); none: nobody is told.
        webhook_poll_seconds: time between two looks for events that webhooks have yet to be told of.
        webhook_days: events that a webhook does not take are kept for it for this long; 0: for ever.
    """

    listen: str = "127.0.0.1:8400"
    database: str = ""
    database_password_file: Path | None = None
    database_connections: int = Field(default=8, ge=1, le=200)
    sweep_seconds: float = Field(default=1.0, gt=0, le=60)
    watch_poll_seconds: float = Field(default=0.1, gt=0, le=10)
    heartbeat_seconds: float = Field(default=10.0, gt=0, le=10)
    watches_per_principal: int = Field(default=5_000, ge=1)
    readiness_debounce_seconds: float = Field(default=3.0, ge=0, le=60)
    give_way_seconds: float = Field(default=0.5, ge=0, le=5)
    route_changes_kept: int = Field(default=10_000, ge=1)
    request_days: float = Field(default=7.0, gt=0)
    event_days: float = Field(default=400.0, ge=0)
    analysis_days: float = Field(default=90.0, ge=0)
    webhooks: Path | None = None
    webhook_poll_seconds: float = Field(default=1.0, gt=0, le=60)
    webhook_days: float = Field(default=400.0, ge=0)

    @property
    def kept(self) -> Kept:
        """What is kept for how long."""
        return Kept(self.event_days, self.analysis_days, self.request_days, self.webhook_days, self.route_changes_kept)
