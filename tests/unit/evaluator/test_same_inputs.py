"""Whether both arms get the same inputs: other ones are found, and like ones are not noticed."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.random import Generator
from numpy.typing import NDArray

from evaluator.evidence.same_inputs import SameInputs, open_same_inputs
from evaluator.statistics.design_effect import effects_of_bins, effects_of_cuts
from evaluator.terms import Feature, Profile
from evaluator.window.input_rows import BinRows
from tests.fakes.rollouts import demo_terms
from tests.unit.evaluator.compared_inputs import BINS, opened

EVEN = np.full(BINS, 1.0 / BINS)
MOVED = np.append(EVEN[:-1] * 0.6, 0.1 * 0.6 + 0.4)
SLIGHTLY = np.append(EVEN[:-1] * 0.95, 0.1 * 0.95 + 0.05)


def looks(rng: Generator, number: int, shares: NDArray[np.float64] = EVEN, features: int = 4) -> SameInputs:
    """So many looks at rows that are drawn one by one; the test arm's second feature has other shares."""
    same = opened(features)
    of_test = np.tile(EVEN, (features, 1))
    of_test[1] = shares
    for _ in range(number):
        test, stable = rng.multinomial(30, of_test), rng.multinomial(570, EVEN, features)
        same = same.compared(BinRows(test.tolist()), BinRows(stable.tolist()))
        if same.broken:
            break
    return same


def test_inputs_that_differ_by_much_are_found_in_some_looks_and_named() -> None:
    for seed in range(5):
        same = looks(np.random.default_rng(seed), 8, MOVED)
        assert same.broken
        assert [one.name for one in same.unlike()] == ["pixel_1"]
        # Three looks have to agree.
        assert same.rows[0] >= 90


def test_inputs_that_differ_by_five_points_are_found_in_some_thousand_rows() -> None:
    rows = [looks(np.random.default_rng(seed), 300, SLIGHTLY).rows[0] for seed in range(5)]
    assert np.median(rows) < 5_000
    assert max(rows) < 9_000


def test_inputs_alike_are_not_noticed_at_any_look() -> None:
    for seed in range(8):
        same = looks(np.random.default_rng(seed), 300)
        assert not same.suspected
        assert float(same.test.max_log_e) < 3.0


def test_inputs_that_change_with_the_hour_in_both_arms_are_not_noticed() -> None:
    rng, worst = np.random.default_rng(1), 0.0
    for _ in range(5):
        same = opened()
        for look in range(200):
            shares = EVEN * (0.8 + 0.2 * np.cos(look / 10.0)) + MOVED * (0.2 - 0.2 * np.cos(look / 10.0))
            shares /= shares.sum()
            test, stable = rng.multinomial(30, shares, 4), rng.multinomial(570, shares, 4)
            same = same.compared(BinRows(test.tolist()), BinRows(stable.tolist()))
        worst = max(worst, same.test.max_log_e)
    assert worst < 5.0


def by_request(rng: Generator, requests: int, *, known: bool) -> BinRows:
    """Requests of 16 rows, all of which lie in one bin of each feature."""
    rows, own = [], []
    for _ in range(4):
        counts = rng.multinomial(requests, EVEN)
        rows.append((16 * counts).tolist())
        own.append((16 * 15 * counts.cumsum()).tolist())
    return BinRows(rows, own, own) if known else BinRows(rows)


@pytest.mark.parametrize("known", [True, False])
def test_rows_of_one_request_are_worth_what_one_would_say(known: bool) -> None:
    found = 0
    for seed in range(6):
        rng, same = np.random.default_rng(seed), opened()
        for _ in range(150):
            same = same.compared(by_request(rng, 3, known=known), by_request(rng, 57, known=known))
        found += same.broken
    assert found == 0 if known else found >= 3


def test_a_rare_value_that_comes_in_bunches_has_an_effect_of_its_own() -> None:
    rng = np.random.default_rng(3)
    bins = np.zeros((2_000, 3), np.int64)
    bins[:, :2] = rng.multinomial(16, (0.5, 0.5), 2_000)
    bins[:20] = (0, 0, 16)
    up_to = bins.cumsum(axis=-1)
    own = (up_to * (up_to - 1)).sum(axis=0)[np.newaxis].astype(float)
    every = (up_to * (up_to[:, -1:] - 1)).sum(axis=0)[np.newaxis].astype(float)
    total = up_to.sum(axis=0)[np.newaxis].astype(float)
    (together,) = effects_of_bins(total, own, every)
    (cuts,) = effects_of_cuts(total, own, every)
    assert cuts[0] == together < 2.0
    assert cuts[1] == pytest.approx(16.0, rel=0.05)


def test_features_of_fewer_bins_and_without_rows_are_compared_by_what_they_have() -> None:
    profile = Profile(
        "p1", 5_000, (Feature("short", (0.5, 0.5)), Feature("long", tuple(EVEN)), Feature("none", (1, 1)))
    )
    same = open_same_inputs(replace(demo_terms(), stable_profile=profile))
    assert same is not None
    assert len(same.test.n_past) == 2 * (1 + 9 + 1)
    rng = np.random.default_rng(4)
    for _ in range(10):
        rows = [[rng.multinomial(n, p).tolist(), rng.multinomial(n, EVEN).tolist(), [0, 0]] for n, p in ARMS]
        same = same.compared(BinRows(rows[0]), BinRows(rows[1]))
    assert [one.name for one in same.unlike()] == ["short"]


ARMS = ((30, (0.1, 0.9)), (570, (0.5, 0.5)))
