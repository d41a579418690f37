"""What a lane's past is worth whose labels come by request, right or wrong together."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.random import Generator

from evaluator.evidence.alike import Alike, AlikeAnswers, Sums
from evaluator.monitor.past import Past
from evaluator.monitor.report import decision
from evaluator.monitor.watch import Watch, after, open_watch
from evaluator.terms import Terms
from evaluator.window.arm_counts import ArmCounts
from evaluator.window.counts import Counts, InstanceCounts, Series
from evaluator.window.labels import Labels
from evaluator.window.snapshots import series_of
from services.common.policy.metrics import MetricKind
from services.common.telemetry import catalog
from services.common.telemetry.store import MetricStore
from tests.fakes.metrics import CLASSES
from tests.fakes.rollouts import demo_terms

ROWS, WRONG = 64, 0.08


def window(rng: Generator, now: float) -> Counts:
    """One request of 64 rows, all of which got their label, and all of which are right or wrong."""
    wrong = ROWS * int(rng.random() < WRONG)
    at = (("segment", ""), ("slice", f"1.{int(now // 60)}"), ("traffic", "live"), ("version", "v2"))

    def labelled(correct: str, counts: tuple[int, int]) -> Series:
        attributes = tuple(sorted((*at, ("correct", correct), ("predicted", CLASSES[0]))))
        return Series("crossfade.feedback.count", attributes, counts, labels=CLASSES)

    products = (ROWS * ROWS, ROWS * wrong, wrong * wrong)
    made = [
        Series("crossfade.feedback.alike", at, products, labels=("rows_rows", "wrong_rows", "wrong_wrong")),
        labelled("false", (0, wrong)),
        labelled("true", (ROWS - wrong, 0)),
        Series("crossfade.prediction.count", at, (ROWS, 0), labels=CLASSES),
    ]
    return (InstanceCounts("worker-1", int(now * 1e6), tuple(made)),)


def watched(rng: Generator, terms: Terms, looks: int) -> tuple[Watch, bool]:
    """A lane after so many minutes, and whether it ever had an alert."""
    lane, now, alerted = open_watch(terms, 600.0), 1_000_000.0, False
    for _ in range(looks):
        now += 60.0
        lane = after(lane, window(rng, now), 1, 60.0)
        alerted |= any(one.alert for one in lane.watched)
    return lane, alerted


def test_a_lane_that_is_watched_is_told_how_alike_its_answers_are() -> None:
    store = MetricStore()
    of_version = ("digits", "v2", "live", "", "1.1")
    store.spread(catalog.PREDICTION_COUNT, CLASSES, *of_version).add([ROWS, 0])
    for product in catalog.ALIKE_PRODUCTS:
        store.spread(catalog.PREDICTION_ALIKE, CLASSES, *of_version, product).add([ROWS * (ROWS - 1), 0])
    terms = replace(demo_terms(features=0), stable="")
    read = (InstanceCounts("worker-1", 1, series_of(store.snapshot(), terms)),)
    seen = AlikeAnswers().plus(ArmCounts(read, terms))
    assert seen.test.own == seen.test.every == (ROWS * (ROWS - 1), 0, 0)
    rollout = replace(terms, stable="v1")
    assert not any(one.metric == catalog.PREDICTION_ALIKE.name for one in series_of(store.snapshot(), rollout))


def test_a_past_of_a_few_requests_is_no_past_yet() -> None:
    terms = replace(demo_terms(features=0), stable="")
    alerted = [watched(np.random.default_rng(seed), terms, 200)[1] for seed in range(12)]
    assert not any(alerted)
    lane, _ = watched(np.random.default_rng(1), terms, 30)
    assert MetricKind.ACCURACY in lane.unwatched
    assert " of 300 rows with complete labels" in decision(lane).reason


def test_what_a_past_allows_begins_the_higher_the_more_alike_its_rows_are() -> None:
    past = Past(labels=Labels(10_000, 800))
    apart, alike = past.known(MetricKind.ACCURACY), past.known(MetricKind.ACCURACY, 16.0)
    assert apart is not None
    assert alike is not None
    assert (apart.n, apart.value) == (alike.n, alike.value) == (10_000, 0.08)
    assert alike.limit > apart.limit + 0.015
    assert past.known(MetricKind.ACCURACY, 64.0) is None
    assert past.counted(MetricKind.ACCURACY, 64.0) == 156


@pytest.mark.parametrize("wrong", [0, 2_560])
def test_where_all_rows_are_right_nothing_is_known_of_how_alike_they_are(wrong: int) -> None:
    squares = (40 * ROWS * ROWS, ROWS * wrong, ROWS * wrong)
    alike = Alike(test=Sums(2_560, wrong, squares))
    assert (alike.effect, alike.careful) == (1.0, 64.0)
