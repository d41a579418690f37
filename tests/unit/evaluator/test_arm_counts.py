"""A window in order: by process, metric and arm."""

from evaluator.window.arm_counts import ArmCounts
from services.common.telemetry import catalog
from tests.fakes.rollouts import demo_terms
from tests.unit.evaluator.counted import attempt, series, window

TERMS = demo_terms(features=0)
PREDICTIONS = catalog.PREDICTION_COUNT.name


def test_each_series_says_whose_it_is() -> None:
    asked = [("v2", "live"), ("v2", "shadow"), ("v2", "control"), ("v1", "live"), ("v1", "control"), ("v1", "shadow")]
    (process,) = ArmCounts(window(*(attempt(*one, "ok", 1) for one in asked)), TERMS).processes
    found = process.of(catalog.ATTEMPT_DURATION.name)
    arms = {(one.at["version"], one.at["traffic"]): (one.test, one.stable) for one in found}
    assert arms == {
        ("v2", "live"): (True, False),
        ("v2", "shadow"): (True, False),
        ("v2", "control"): (False, False),
        ("v1", "live"): (False, True),
        ("v1", "control"): (False, True),
        ("v1", "shadow"): (False, False),
    }


def test_series_come_by_metric_in_the_order_in_which_they_are_recorded_and_by_process() -> None:
    found = (
        series(PREDICTIONS, 3, version="v2", traffic="live", slice="2.2"),
        series(PREDICTIONS, 2, version="v2", traffic="live", slice="2.1"),
        attempt("v2", "live", "ok", 1),
    )
    one, other = ArmCounts(window(*found) + window(found[2], name="b"), TERMS).processes
    assert [each.series.counts for each in one.of(PREDICTIONS)] == [(2,), (3,)]
    asked = PREDICTIONS, catalog.ATTEMPT_DURATION.name
    assert [each.series.counts for each in one.of(*asked)] == [(1,), (2,), (3,)]
    assert [each.series.counts for each in other.of(*asked)] == [(1,)]
    assert not other.of(PREDICTIONS)
    assert (one.instance_id, other.instance_id) == ("a", "b")
