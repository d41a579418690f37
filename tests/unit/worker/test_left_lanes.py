"""What was counted in lanes that a version has left."""

import numpy as np

from services.common.telemetry import catalog
from tests.unit.worker.counted import counting, found, place

OF_LANES = (
    catalog.WORKER_DURATION,
    catalog.PREDICTION_COUNT,
    catalog.PREDICTION_ALIKE,
    catalog.INPUT_COUNT,
    catalog.INPUT_ALIKE,
)


def test_a_lane_that_was_left_is_told_for_a_while_and_then_dropped() -> None:
    counts = counting()

    def use(segment: str) -> None:
        tally = counts.at(place(segment))
        tally.call("ok", 0.001)
        tally.predicted([0, 1])
        counts.inputs(place(segment), [np.zeros((2, 2), np.float32)])

    def told(held: set[str], now: float) -> list[set[str]]:
        counts.keep_lanes(held, now)
        snapshots = counts.snapshot()
        return [{key[3] for key in found(snapshots, metric)} for metric in OF_LANES]

    use("")
    use("eu")
    both, rest = [{"", "eu"}] * 5, [{""}] * 5
    assert told({"", "eu"}, 0.0) == told({""}, 100.0) == told({""}, 999.0) == both
    # Back before it was forgotten, so that it is counted on.
    assert told({"", "eu"}, 999.5) == told({""}, 1_000.0) == told({""}, 1_899.0) == both
    assert told({""}, 1_900.0) == rest
    use("eu")
    assert told({"", "eu"}, 1_901.0) == both
    again = found(counts.snapshot(), catalog.INPUT_COUNT)
    assert {key[3]: sum(one.counts) for key, one in again.items()} == {"": 2, "eu": 2}
