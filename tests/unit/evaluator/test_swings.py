"""Lanes whose callers ask otherwise by night than by day: the shares of their classes swing, and that is no drift."""

import json
import math

import pytest

from evaluator.monitor import checkpoint, report
from evaluator.monitor.outputs import answers_tolerances
from evaluator.monitor.swings import Swings, stretch_of
from evaluator.monitor.values import up_to, values_tolerance
from services.common.policy.metrics import MetricKind
from tests.unit.evaluator.monitored import LEARN, LOOK, Lane


def swinging(amplitude: float, days: int, more: float = 0.0) -> Lane:
    """A lane whose days last as long as its past is learnt; `more` positives from the third day on."""
    lane = Lane()
    for look in range(round(days * LEARN / LOOK)):
        shift = more if look * LOOK >= 2 * LEARN else 0.0
        lane.fleet.positives = 0.3 + amplitude * math.sin(2 * math.pi * look * LOOK / LEARN) + shift
        lane.run(LOOK)
    return lane


def test_what_swings_by_day_as_it_did_while_it_was_learnt_is_no_alert(monkeypatch: pytest.MonkeyPatch) -> None:
    assert swinging(0.15, 6).told == [""]
    monkeypatch.setattr(Swings, "swing", lambda *_: 0.0)
    assert "outputs" in swinging(0.15, 6).told


def test_what_lies_beyond_the_swing_is_told() -> None:
    lane = swinging(0.15, 6, more=0.3)
    assert "outputs" in lane.told
    watched = next(one for one in report.decision(lane.watch).gates if one.metric is MetricKind.CLASS_BALANCE)
    # Five points, the swing of some twelve, less what is chance, and the past's own error.
    assert watched.limit is not None
    assert watched.limit.at_most is not None
    assert 0.14 < watched.limit.at_most < 0.2


def test_swings_are_kept() -> None:
    lane = swinging(0.15, 2)
    kept = checkpoint.dump(lane.watch)
    again = checkpoint.load(kept, lane.terms, LEARN)
    assert again.swings == lane.watch.swings
    assert again.outputs is not None
    assert lane.watch.outputs is not None
    assert again.outputs.test.reference.bounds.tolist() == lane.watch.outputs.test.reference.bounds.tolist()
    # An older release knew of none.
    said = json.loads(kept)
    del said["swings"]
    older = checkpoint.load(json.dumps(said).encode(), lane.terms, LEARN)
    assert older.outputs is not None
    assert older.outputs.test.reference.bounds.max() < again.outputs.test.reference.bounds.max()


def plus(swings: Swings, counts: dict[str, int], now: float, length: float, together: int = 0) -> Swings:
    return swings.plus(counts, sum(counts.values()), together, now, length)


def test_a_stretch_is_as_long_as_it_is_to_be_and_until_it_has_enough_answers() -> None:
    swings = Swings()
    for now in (10.0, 20.0):
        swings = plus(swings, {"a": 100, "b": 200}, now, length=10.0)
    assert (swings.since, dict(swings.counts), swings.rows, swings.lowest) == (10.0, {"a": 200, "b": 400}, 600, {})
    swings = plus(swings, {"a": 100, "b": 300}, 25.0, length=10.0)
    assert (swings.since, dict(swings.counts), swings.rows) == (25.0, {}, 0)
    error = 3.0 * math.sqrt(0.3 * 0.7 / 1_000)
    assert [swings.lowest["a"], swings.highest["a"]] == pytest.approx([0.3 + error, 0.3 - error])
    # Requests of many rows that have one class say less.
    alike = plus(Swings(), {"a": 300, "b": 700}, 10.0, 0.0, together=999_000)
    assert alike.lowest == {}


def test_stretches_are_hours_of_longer_pasts_too() -> None:
    assert [stretch_of(learn) for learn in (60.0, 86_400.0, 7 * 86_400.0)] == [2.5, 3_600.0, 3_600.0]


def test_classes_that_do_not_swing_are_held_against_the_mean_of_the_past() -> None:
    flat = {"a": 300, "b": 700}
    assert answers_tolerances(flat, Swings()) == [0.05, 0.05]
    swings = Swings()
    for now in range(1, 48):
        swings = plus(swings, {"a": 3_000 + 60 * (now % 2), "b": 7_000}, float(now), 0.5)
    assert answers_tolerances({"a": 3_030, "b": 7_000}, swings) == [0.05, 0.05]
    # A class that is answered in one stretch alone swings by all of its share there.
    swings = plus(swings, {"a": 9_000, "b": 1_000}, 100.0, 0.5)
    assert answers_tolerances(flat, swings)[0] == pytest.approx(0.05 + 0.6 - 3.0 * math.sqrt(0.09 / 10_000))


def test_numbers_that_callers_report_swing_by_their_cumulative_shares() -> None:
    swings = Swings()
    for now in range(1, 25):
        values = (6_000, 0, 4_000) if now % 2 else (4_000, 0, 6_000)
        swings = swings.plus(up_to(values), sum(values), 0, float(now), 0.5)
    assert values_tolerance((5_000, 0, 5_000), swings) == pytest.approx(0.05 + 0.1 - 3.0 * math.sqrt(0.24 / 10_000))
    assert values_tolerance((5_000, 0, 5_000), Swings()) == 0.05
