"""Settings of the Evaluator: from the environment (CROSSFADE_…) or from arguments."""

from pydantic import Field

from services.common.settings import ServiceSettings


class EvaluatorSettings(ServiceSettings):
    """Settings of one Evaluator.

    Attributes:
        scrape_seconds: how long a Router or Worker may take to hand out its metrics.
        poll_seconds: time between two questions for live rollouts.
        registry_seconds: how long a call of the Registry may take.
    """

    listen: str = "127.0.0.1:8700"
    scrape_seconds: float = Field(default=2.0, gt=0, le=60)
    poll_seconds: float = Field(default=1.0, gt=0, le=60)
    registry_seconds: float = Field(default=10.0, gt=0, le=120)
