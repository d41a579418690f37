"""What a Worker reports of itself."""

from services.worker.domain import ServingKey, Traffic
from services.worker.supervisor.entries import Serving
from services.worker.supervisor.plan import Phase
from services.worker.supervisor.routes import instance_of

KEY = ServingKey("digits", "v1", Traffic.LIVE)


def test_whatever_a_process_said_before_it_ended_can_be_reported() -> None:
    serving = Serving(KEY, Phase.FAILED, "", "CRASHED", "\0\ud800" + "x" * 10_000_000, None)
    (reported,) = instance_of("worker", "127.0.0.1:1", [serving]).serving
    assert reported.error.startswith("\N{REPLACEMENT CHARACTER}?xxx")
    assert len(reported.error) == 2_000
