"""Workers that are ready, and the moment of a decision."""

from evaluator.verdict.decision import Circumstances, Phase
from evaluator.verdict.readiness import Served, Serving, Worker

STABLE, CONTROL = Served("v1", False, Serving.READY), Served("v1", True, Serving.READY)
READY = (Worker("w1", (STABLE, CONTROL, Served("v2", False, Serving.READY))),)


def at(phase: Phase = Phase.RUNNING, elapsed: float = 10.0, **more: object) -> Circumstances:
    return Circumstances(phase, 1_000_100.0, elapsed, **({"workers": READY} | more))  # type: ignore[arg-type] # fields by name
