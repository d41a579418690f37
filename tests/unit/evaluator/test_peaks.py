"""Lanes whose failures, wrong answers and runtimes swing by day: a version is held against its own worst hours."""

import json
import math
import re
from collections.abc import Callable

import numpy as np
import pytest

from evaluator.monitor import checkpoint, report
from evaluator.monitor.past import Past
from evaluator.monitor.peaks import Moments, Peak
from services.common.policy.metrics import MetricKind
from tests.fakes.metrics import Behaviour
from tests.unit.evaluator.monitored import LEARN, LOOK, Lane, regression_lane

BY_DAY: dict[str, Callable[[float], Behaviour]] = {
    "errors": lambda wave: Behaviour(errors=0.01 * (1.0 + 0.95 * wave) ** 2),
    "accuracy": lambda wave: Behaviour(wrong=0.2 + 0.15 * wave, missed=0.2 + 0.15 * wave),
    "runtime": lambda wave: Behaviour(seconds=0.002 * 2.0**wave),
    "absolute_error": lambda wave: Behaviour(off=2.0**wave),
    "value": lambda wave: Behaviour(engaged=0.3 + 0.2 * wave),
}


def swinging(by_day: str, days: float, worse: Callable[[float], Behaviour] | None = None) -> Lane:
    """A lane whose days last as long as its past is learnt; another behaviour from the third day on."""
    lane = regression_lane() if by_day == "absolute_error" else Lane()
    lane.fleet.slice_seconds = LOOK
    lane.fleet.reported = 0.5 if by_day == "value" else 0.0
    for look in range(round(days * LEARN / LOOK)):
        behaviour = worse if worse is not None and look * LOOK >= 2 * LEARN else BY_DAY[by_day]
        lane.fleet.stable = behaviour(math.sin(2 * math.pi * look * LOOK / LEARN))
        lane.run(LOOK)
    return lane


@pytest.mark.parametrize("by_day", BY_DAY)
def test_what_swings_by_day_as_it_did_while_it_was_learnt_is_no_alert(
    by_day: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert swinging(by_day, 3).told == [""]
    monkeypatch.setattr(Peak, "usual", 0.0)
    monkeypatch.setattr("evaluator.monitor.watch.values_tolerance", lambda *_: 0.05)
    assert by_day in swinging(by_day, 3).told


@pytest.mark.parametrize(
    ("by_day", "worse", "says"),
    [
        ("errors", Behaviour(errors=0.12), r"is allowed by its own past of 1\.\d+ % \(3\.\d+ % at its worst\)"),
        (
            "accuracy",
            Behaviour(wrong=0.5, missed=0.5),
            r"is allowed by its own past of 2\d\.\d % \(3\d\.\d % at its worst\)",
        ),
        ("runtime", Behaviour(seconds=0.012), r"is allowed by its own past of 2\.\d+ ms \(\d\.\d+ ms at its worst\)"),
        ("absolute_error", Behaviour(off=5.0), r"half of its own past's were off by less than [12]\.\d"),
    ],
)
def test_what_lies_beyond_the_worst_hours_is_told(by_day: str, worse: Behaviour, says: str) -> None:
    lane = swinging(by_day, 2.5, lambda _: worse)
    assert lane.told[0] == ""
    alert = next(one for one in report.alerts(lane.watch) if one.gate == by_day)
    assert re.search(says, alert.reason), alert.reason


def test_an_outage_while_the_past_is_learnt_is_not_what_is_allowed_from_then_on() -> None:
    lane = Lane()
    lane.run(LEARN / 2)
    lane.fleet.stable = Behaviour(errors=0.3)
    lane.run(LEARN / 24)
    lane.fleet.stable = Behaviour()
    lane.run(LEARN)
    errors = next(one for one in lane.watch.watched if one.metric is MetricKind.ERRORS)
    # Of the mean, as without any stretches.
    assert errors.past.peak == 0.0
    known = lane.watch.past.known(MetricKind.ERRORS)
    assert known is not None
    assert errors.past.limit == known.limit


def test_peaks_are_kept() -> None:
    lane, kept = (swinging("errors", 2) for _ in range(2))
    kept.watch = checkpoint.load(checkpoint.dump(kept.watch), kept.terms, LEARN)
    assert kept.watch.peaks == lane.watch.peaks
    assert [one.past for one in kept.watch.watched] == [one.past for one in lane.watch.watched]
    # An older release knew of none.
    said = json.loads(checkpoint.dump(lane.watch))
    del said["peaks"], said["value_swings"]
    for one in said["watched"]:
        del one["peak"]
    older = checkpoint.load(json.dumps(said).encode(), lane.terms, LEARN)
    assert older.peaks == {}
    assert [one.past.limit for one in older.watched] == [one.past.limit for one in lane.watch.watched]


def test_a_stretch_is_as_long_as_it_is_to_be_and_until_it_has_enough() -> None:
    peak = Peak()
    for now in (10.0, 15.0):
        peak = peak.plus(Moments(600, 60.0, 60.0), now, length=10.0, enough=1_000)
    assert (peak.since, peak.moments, peak.highest) == (10.0, Moments(1_200, 120.0, 120.0), ())
    # Rows that are alike say less.
    later = peak.plus(Moments(800, 80.0, 80.0), 20.0, 10.0, 1_000, effect=2.5)
    assert later.highest == ()
    later = peak.plus(Moments(800, 80.0, 80.0), 20.0, 10.0, 1_000, effect=2.0)
    assert later.highest[0] == pytest.approx((0.1, math.sqrt(0.09 / 1_000)))
    assert (later.since, later.moments.n) == (20.0, 0)


def test_a_figure_may_be_as_bad_as_in_three_stretches() -> None:
    peak = Peak()
    for rate, usual in ((0.5, 0.0), (0.1, 0.0), (0.2, 0.1), (0.3, 0.2)):
        peak = peak.plus(Moments(10**12, 10**12 * rate, 10**12 * rate), peak.since + 1.0, 0.0, 1)
        assert peak.usual == pytest.approx(usual, abs=1e-5)


@pytest.mark.parametrize("stretches", [12, 24, 168])
def test_stretches_that_are_alike_have_no_peak(stretches: int) -> None:
    rng = np.random.default_rng(7)
    found = []
    for _ in range(200):
        peak = Peak()
        for bad in rng.binomial(2_000, 0.05, stretches):
            peak = peak.plus(Moments(2_000, float(bad), float(bad)), peak.since + 1.0, 0.0, 1)
        found.append(peak.usual)
    # On average the rate itself: a standard error of one stretch is half a point.
    assert np.mean(found) == pytest.approx(0.05, abs=0.001)
    assert np.quantile(found, 0.9) < 0.053


def test_what_is_within_chance_is_no_peak() -> None:
    past = Past(attempts=(10_000, 20))
    plain = past.known(MetricKind.ERRORS)
    assert past.known(MetricKind.ERRORS, 1.0, 0.0025) == plain
    swung = past.known(MetricKind.ERRORS, 1.0, 0.02)
    assert swung is not None
    assert swung.limit == pytest.approx(1.5 * 0.02 + 0.0025)
    assert swung.peak == 0.02
