"""Counts as large as a process is believed."""

import math

from evaluator.evidence.fold import fold
from evaluator.evidence.state import Look, start
from evaluator.verdict.decide import decide
from evaluator.verdict.decision import Circumstances, Phase
from evaluator.window.counts import Series
from services.common.telemetry.largest import LARGEST_COUNT
from tests.fakes.rollouts import demo_terms
from tests.unit.evaluator.counted import attempt, series, window

PROCESSES = 500
PREDICTIONS = "crossfade.prediction.count"
FEEDBACK = "crossfade.feedback.count"


def told(at: float) -> list[Series]:
    """All that a process says, each count as large as may be."""
    found = [attempt(version, "live", outcome, LARGEST_COUNT) for version in ("v1", "v2") for outcome in ("ok", "bad")]
    for version in ("v1", "v2"):
        where = {"version": version, "traffic": "live", "segment": "", "slice": f"2.{int(at // 5)}"}
        found.append(series(PREDICTIONS, LARGEST_COUNT, LARGEST_COUNT, labels=("0", "1"), **where))
        for correct in ("true", "false"):
            counted = series(FEEDBACK, LARGEST_COUNT, labels=("1",), correct=correct, predicted="", **where)
            found.append(counted)
    return found


def test_those_of_many_processes_can_be_added_up_and_judged() -> None:
    state = start(demo_terms(features=0))
    for number in range(1, 4):
        at = 100.0 + number
        names = [f"router-{place:03}" for place in range(PROCESSES)]
        windows = tuple(one for name in names for one in window(*told(at), at=at, name=name))
        state = fold(state, Look(number, 2, 5.0, 0, judged=True, window=windows))
    decision = decide(state, Circumstances(Phase.RUNNING, state.time + 1.0, elapsed=10.0))
    assert decision.reason
    for gate in state.gates:
        assert not math.isnan(gate.harm.log_e)
        assert not math.isnan(gate.safe.log_e)
