"""Inputs whose rows come by request: what a drift is worth whose rows are alike."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.random import Generator
from numpy.typing import NDArray

from evaluator.evidence.inputs import ALPHA, ArmInputs
from evaluator.monitor import checkpoint
from evaluator.monitor.outputs import answers_profile
from evaluator.monitor.watch import Watch, after, open_watch
from evaluator.statistics.design_effect import effects_of_bins, weights_of_past
from evaluator.statistics.process import look_cap
from evaluator.terms import Feature, Profile
from evaluator.window.arm_counts import ArmCounts
from evaluator.window.counts import Counts, InstanceCounts, Series
from evaluator.window.input_rows import BinRows, input_rows
from tests.fakes.metrics import CLASSES
from tests.fakes.rollouts import demo_terms

BINS, ROWS = 10, 64
EVEN = np.full(BINS, 1.0 / BINS)


def requests(
    rng: Generator, number: int, alike: float, shares: NDArray[np.float64] = EVEN, rows: int = ROWS
) -> NDArray[np.int64]:
    """Requests by bin, [requests, bins]: each has all of its rows in one bin, with the chance `alike`."""
    together = rng.random(number) < alike
    return np.where(
        together[:, np.newaxis], rows * rng.multinomial(1, shares, number), rng.multinomial(rows, shares, number)
    )


def products(bins: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What a Worker adds up of them."""
    up_to = bins.cumsum(axis=-1)
    return (up_to * (up_to - 1)).sum(axis=0), (up_to * (up_to[:, -1:] - 1)).sum(axis=0)


def counted(features: list[NDArray[np.int64]], *, known: bool) -> BinRows:
    rows = [bins.sum(axis=0).tolist() for bins in features]
    if not known:
        return BinRows(rows)
    own, every = zip(*(products(bins) for bins in features), strict=True)
    return BinRows(rows, [one.tolist() for one in own], [one.tolist() for one in every])


def watch(features: int = 2) -> ArmInputs:
    profile = Profile("p", 5_000, tuple(Feature(f"f{number}", tuple(EVEN)) for number in range(features)))
    return ArmInputs.open(profile, 0.1)


@pytest.mark.parametrize(("rows", "alike", "effect"), [(1, 1.0, 1.0), (64, 0.0, 1.0), (64, 1.0, 64.0), (64, 0.3, 19.9)])
def test_the_effect_is_how_many_rows_say_what_one_would(rows: int, alike: float, effect: float) -> None:
    bins = requests(np.random.default_rng(1), 4_000, alike, rows=rows)
    own, every = (each[np.newaxis].astype(float) for each in products(bins))
    found = effects_of_bins(bins.sum(axis=0).cumsum()[np.newaxis].astype(float), own, every)
    assert found == pytest.approx(np.array([effect]), rel=0.1)


def test_neighbouring_bins_are_alike_too() -> None:
    # Rows of a request lie in two bins side by side: each bin by itself would say half of it.
    rng = np.random.default_rng(2)
    first = rng.integers(0, BINS - 1, 4_000)
    bins = np.zeros((4_000, BINS), np.int64)
    bins[np.arange(4_000), first] = bins[np.arange(4_000), first + 1] = ROWS // 2
    own, every = (each[np.newaxis].astype(float) for each in products(bins))
    (found,) = effects_of_bins(bins.sum(axis=0).cumsum()[np.newaxis].astype(float), own, every)
    assert found > 0.8 * ROWS


def test_what_is_known_of_requests_is_worth_so_many_at_most() -> None:
    # 1,200 requests of 64 rows, 20 of them, 1,200 of one row, and a feature of which nothing came.
    rows = np.array([1_200.0 * 64, 20.0 * 64, 1_200.0, 0.0])
    own = np.array([1_200.0 * 64 * 63, 20.0 * 64 * 63, 0.0, 0.0])
    found = weights_of_past(rows[:, np.newaxis], own[:, np.newaxis])
    assert found == pytest.approx(np.array([0.25, 1.0, 0.25, 1.0]))


def test_of_few_requests_rows_are_taken_to_be_as_alike_as_they_can_be() -> None:
    bins = requests(np.random.default_rng(3), 12, 0.0)
    own, every = (each[np.newaxis].astype(float) for each in products(bins))
    (found,) = effects_of_bins(bins.sum(axis=0).cumsum()[np.newaxis].astype(float), own, every)
    assert found == ROWS


def alarms(*, known: bool) -> int:
    """Of 60 watches over inputs as the profile's, a request of 64 rows at each of 200 looks."""
    rng, raised = np.random.default_rng(4), 0
    for _ in range(60):
        arm = watch()
        for _ in range(200):
            arm = arm.after(counted([requests(rng, 1, 0.5) for _ in range(2)], known=known))
        raised += arm.test.alarms > 0
    return raised


def test_requests_whose_rows_are_alike_raise_no_alarm_if_it_is_known() -> None:
    assert alarms(known=False) > 20
    assert alarms(known=True) == 0


def test_rows_that_come_alike_after_a_time_of_single_ones_raise_no_alarm() -> None:
    rng, raised = np.random.default_rng(11), 0
    for _ in range(10):
        arm = watch()
        for _ in range(50):
            arm = arm.after(BinRows([rng.multinomial(20_000, EVEN).tolist() for _ in range(2)]), look_cap(ALPHA))
        for _ in range(100):
            arm = arm.after(counted([requests(rng, 1, 0.5) for _ in range(2)], known=True), look_cap(ALPHA))
        raised += arm.test.alarms > 0
    assert raised == 0


def test_a_drift_of_inputs_that_are_alike_is_seen_and_so_is_its_end() -> None:
    rng, arm = np.random.default_rng(5), watch()
    moved = np.array([0.2] * 4 + [0.2 / 6] * 6)
    for _ in range(400):
        arm = arm.after(counted([requests(rng, 5, 0.5, moved), requests(rng, 5, 0.5)], known=True))
    assert arm.test.drifted
    for _ in range(2_000):
        arm = arm.after(counted([requests(rng, 5, 0.5) for _ in range(2)], known=True))
    assert (arm.test.drifted, arm.test.alarms) == (False, 1)


def test_a_feature_of_rows_apart_is_judged_by_each_of_them() -> None:
    rng, arms = np.random.default_rng(6), [watch(), watch()]
    for _ in range(40):
        looks = [requests(rng, 5, 1.0), requests(rng, 5, 0.0)]
        arms = [arm.after(counted(looks, known=known)) for arm, known in zip(arms, (True, False), strict=True)]
    effects = arms[0].alike.effects
    assert effects is not None
    assert effects == pytest.approx(np.array([64.0, 1.0]), rel=0.1)
    assert arms[1].alike.effects is None


def window(bins: NDArray[np.int64], version: str, profile: str, named: str = "lane.input") -> Counts:
    """What a Worker counts of one feature."""
    at = {"feature": "pixel_0", "profile": profile, "traffic": "live", "version": version}
    labels, made = tuple(map(str, range(BINS))), []
    for metric, counts, more in (
        (f"crossfade.{named}.count", bins.sum(axis=0), {}),
        *(
            (f"crossfade.{named}.alike", one, {"product": name})
            for name, one in zip(("class", "rows"), products(bins), strict=True)
        ),
    ):
        attributes = tuple(sorted({**at, **more}.items()))
        made.append(Series(metric, attributes, tuple(int(count) for count in counts), labels=labels))
    return (InstanceCounts("worker-1", 1, tuple(made)),)


@pytest.mark.parametrize("named", ["lane.input", "input"])
def test_a_window_tells_rows_from_products_and_one_arm_from_the_other(named: str) -> None:
    # Releases before this one recorded them under another name.
    bins, terms = requests(np.random.default_rng(7), 40, 0.5), demo_terms()
    assert terms.test_profile is not None
    test, stable = input_rows(ArmCounts(window(bins, terms.test, terms.test_profile.profile_id, named), terms))
    own, every = products(bins)
    assert test.rows[0] == bins.sum(axis=0).tolist()
    assert test.own[0] == own.tolist()
    assert test.every[0] == every.tolist()
    assert not any(map(any, stable.rows))
    assert (stable.own, stable.every) == ([], [])


def test_a_feature_of_fewer_bins_than_others_keeps_its_requests() -> None:
    features = Feature("short", (0.5, 0.5)), Feature("long", tuple(EVEN))
    arm, rng = ArmInputs.open(Profile("p", 5_000, features), 0.1), np.random.default_rng(8)
    for _ in range(40):
        short, long = requests(rng, 5, 1.0, np.array([0.5, 0.5])), requests(rng, 5, 0.0)
        arm = arm.after(counted([short, long], known=True))
    assert arm.alike.effects == pytest.approx(np.array([64.0, 1.0]), rel=0.1)


def test_a_watched_lane_goes_on_with_what_is_known_of_its_requests() -> None:
    terms, rng = demo_terms(), np.random.default_rng(9)
    assert terms.test_profile is not None
    fresh = open_watch(terms, 60.0)
    assert fresh.inputs is not None
    rows, _ = input_rows(ArmCounts(window(requests(rng, 40, 0.5), terms.test, terms.test_profile.profile_id), terms))
    kept = checkpoint.load(checkpoint.dump(_with(fresh, fresh.inputs.after(rows))), terms, 60.0)
    assert kept.inputs is not None
    assert checkpoint.dump(kept) == checkpoint.dump(_with(fresh, fresh.inputs.after(rows)))
    assert kept.inputs.alike.effects is not None


def _with(fresh: Watch, inputs: ArmInputs) -> Watch:
    return replace(fresh, inputs=inputs)


def answered(rng: Generator, *, known: bool) -> Counts:
    """Three requests of 64 predictions each, half of which get one class for all of their rows."""
    bins = requests(rng, 3, 0.5, np.array([0.6, 0.4]))
    at = {"segment": "", "slice": "1.1", "traffic": "live", "version": "v2"}

    def series(metric: str, counts: NDArray[np.int64], **more: str) -> Series:
        attributes = tuple(sorted({**at, **more}.items()))
        return Series(metric, attributes, tuple(int(count) for count in counts.sum(axis=0)), labels=CLASSES)

    made = [series("crossfade.prediction.count", bins)]
    if known:
        made.append(series("crossfade.prediction.alike", bins * (bins - 1), product="class"))
        made.append(series("crossfade.prediction.alike", bins * (ROWS - 1), product="rows"))
    return (InstanceCounts("worker-1", 1_000_000, tuple(made)),)


def told(*, known: bool) -> int:
    """Of 30 lanes whose classes stay as they were, so many alert in 100 looks."""
    rng, terms, alerts = np.random.default_rng(10), demo_terms(features=0), 0
    profile = answers_profile(dict(zip(CLASSES, (6_000, 4_000), strict=True)))
    for _ in range(30):
        lane = replace(open_watch(terms, 60.0), outputs=ArmInputs.open(profile, 0.05))
        for _ in range(100):
            lane = after(lane, answered(rng, known=known), 1, 300.0)
        assert lane.outputs is not None
        alerts += lane.outputs.test.alarms > 0
    return alerts


def test_classes_of_requests_that_are_alike_are_no_alert_if_it_is_known() -> None:
    assert told(known=False) > 5
    assert told(known=True) == 0
