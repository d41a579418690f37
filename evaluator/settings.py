"""Settings of the Evaluator: from the environment (CROSSFADE_…) or from arguments."""

from pathlib import Path

from pydantic import Field

from services.common.settings import ServiceSettings


class EvaluatorSettings(ServiceSettings):
    """Settings of one Evaluator.

    Attributes:
        scrape_seconds: how long a Router or Worker, or Prometheus, may take to hand out metrics.
        monitor_seconds: time between two looks at a lane without a rollout; 0: such lanes are not watched.
        poll_seconds: time between two questions for live rollouts.
        registry_seconds: how long a call of the Registry may take.
        evaluator_prometheus: http(s)://HOST:PORT of the Prometheus server that metrics are read from; empty: Routers
            and Workers are asked themselves.
        evaluator_prometheus_own_only: it is asked for metrics of the user's own alone (gates of the metric custom), and
            Routers and Workers themselves for all else.
        evaluator_prometheus_ca: PEM certificates that it is checked against; unset: the system's.
        evaluator_prometheus_token_file: file with the bearer token that it asks for.
        evaluator_prometheus_user: user for its basic authentication.
        evaluator_prometheus_password_file: file with that user's password.
    """

    listen: str = "127.0.0.1:8700"
    scrape_seconds: float = Field(default=2.0, gt=0, le=60)
    monitor_seconds: float = Field(default=60.0, ge=0, le=3600)
    poll_seconds: float = Field(default=1.0, gt=0, le=60)
    registry_seconds: float = Field(default=10.0, gt=0, le=120)
    evaluator_prometheus: str = ""
    evaluator_prometheus_own_only: bool = False
    evaluator_prometheus_ca: Path | None = None
    evaluator_prometheus_token_file: Path | None = None
    evaluator_prometheus_user: str = ""
    evaluator_prometheus_password_file: Path | None = None
