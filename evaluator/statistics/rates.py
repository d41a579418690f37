"""P1: two rates, folded window by window.

A state holds the stable arm's past, from which the next bets are made, and one mixture e-process over the
candidates of `bets`. The windows of one look are judged against the past before that look: given it they are
independent, so their e-values multiply, and their order matters only to the last bit of the sum.

Windows, never cumulative rates: a rise of errors that both arms share during a ramp makes cumulative rates
differ although the versions are alike, while within each window they do not.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from evaluator.statistics.agreement import Agreement
from evaluator.statistics.bets import (
    Margin,
    Side,
    prior_weights,
    smoothed_rate,
    superiority_weights,
)
from evaluator.statistics.boost import boosted_bets
from evaluator.statistics.counts import FloatArray, check_part, checked_counts, checked_parts, frozen
from evaluator.statistics.process import EProcess, advance, log_threshold, look_cap, open_process, reset
from evaluator.statistics.wagers import Wager, log_bets_each

# Bets made from a handful of requests are far off and lose more than the wait for a hundred costs.
ENOUGH_PAST: Final = 100
# The share of a harm test's wealth kept for harm that begins late: it costs 1 % more requests at the start.
LATE_HARM: Final = 0.1


_COLUMNS: Final = ("n_test", "x_test", "n_stable", "x_stable")


@dataclass(frozen=True, slots=True, eq=False)
class RateWindows:
    """The windows of one look: x of n in the test and in the stable arm, each of shape (windows, *shape).

    One window per instance (and slice, for labels). `shape` is that of the state they are for: () but in
    simulations. Raises ValueError for counts that are negative, not whole, not finite, or x > n.
    """

    n_test: FloatArray
    x_test: FloatArray
    n_stable: FloatArray
    x_stable: FloatArray
    totals: FloatArray = field(init=False, repr=False)
    """(4, *shape) the same over all windows."""

    def __post_init__(self) -> None:
        table = checked_parts(self.n_test, self.x_test, self.n_stable, self.x_stable)
        for name, row in zip(_COLUMNS, table, strict=True):
            object.__setattr__(self, name, row)
        object.__setattr__(self, "totals", frozen(table.sum(axis=1)))

    @classmethod
    def of(cls, rows: Iterable[tuple[int, int, int, int]]) -> Self:
        """Return the windows of rows (n_test, x_test, n_stable, x_stable), in an order that does not vary."""
        return cls(*np.array(list(rows), dtype=np.float64).reshape(-1, 4).T)


@dataclass(frozen=True, slots=True, eq=False)
class RateTest:
    """The state of one P1 test.

    n_past, x_past: the stable arm's totals so far. cap: of one look, see `process.advance` (infinity: none). boost:
    ln(1/alpha) where the test ends at it and wins nothing beyond, see `boost`; 0: it is not boosted. agreement: of the
    looks that must agree on a winner; None: any number may decide, or `cap` says how many.
    """

    side: Side
    margin: Margin
    cap: float
    n_past: FloatArray
    x_past: FloatArray
    process: EProcess
    boost: float = 0.0
    agreement: Agreement | None = None

    @property
    def log_e(self) -> float:
        """ln E at the last look: what non-inferiority is read from (of several rates the least: all must show it)."""
        log_e = self.process.log_e
        return float(log_e.min() if log_e.ndim else log_e) - self.excess

    @property
    def excess(self) -> float:
        """What of ln E is held back, since a few looks alone have brought it."""
        return 0.0 if self.agreement is None else self.agreement.excess

    @property
    def max_log_e(self) -> float:
        """The greatest ln E so far: what harm is read from."""
        return float(self.process.max_log_e)


def harm_test(
    margin: Margin,
    alpha: float,
    n_past: npt.ArrayLike = 0,
    x_past: npt.ArrayLike = 0,
    *,
    late: float = LATE_HARM,
    agreeing_looks: int = 3,
) -> RateTest:
    """Return a fresh test of harm: null theta_c <= a + b*theta_s.

    alpha: the gate's own level, of which the burst guard is made: no fewer than `agreeing_looks` looks reach
    1/alpha.
    n_past, x_past: the stable arm's counts from before the test; with fewer than ENOUGH_PAST the first
    windows only add to them. late: the share of the wealth kept for harm that begins later.
    """
    return _test(Side.HARM, margin, look_cap(alpha, agreeing_looks), n_past, x_past, reserve=late)


def harm_test_of_any(
    margin: Margin, alpha: float, rates: int, *, late: float = LATE_HARM, shape: tuple[int, ...] = ()
) -> RateTest:
    """Return a fresh test of harm in any of several rates: null theta_c <= a + b*theta_s for each of them.

    One mixture over the candidates of all rates, so that what is not known (which rate, and by how much) is paid
    for once. Valid although the rates depend on one another: an average of e-values is one. Its windows are of shape
    (windows, *shape, rates), `shape` that of the process: () but in simulations.
    """
    nothing = frozen(np.zeros((*shape, rates)))
    process = open_process(np.tile(prior_weights(Side.HARM), rates), late, shape)
    return RateTest(Side.HARM, margin, look_cap(alpha), nothing, nothing, process)


def non_inferiority_test(margin: Margin, n_past: npt.ArrayLike = 0, x_past: npt.ArrayLike = 0) -> RateTest:
    """Return a fresh test of non-inferiority, null theta_c >= a + b*theta_s; or, against a limit, theta_c >= a."""
    return _test(Side.NON_INFERIOR, margin, math.inf, n_past, x_past, reserve=0.0)


def superiority_test(better: float, alpha: float, *, agreeing_looks: int = 0) -> RateTest:
    """Return a fresh test of superiority, null theta_c >= theta_s - better, `better` in rate and >= 0.

    The bet that both versions are alike, on which half of a non-inferiority test's wealth is, could not win here.

    alpha: the level at which it decides; without a margin it is boosted up to it. agreeing_looks: no fewer reach it, as
    of harm; 0: one may, however much of it is an incident of the stable arm's.
    """
    test = non_inferiority_test(Margin(-better))
    boost = log_threshold(alpha) if better == 0.0 else 0.0
    agreement = Agreement.of(alpha, agreeing_looks) if agreeing_looks else None
    return replace(test, process=open_process(superiority_weights()), boost=boost, agreement=agreement)


def restart(test: RateTest) -> RateTest:
    """Return the test with E = 1 and its past kept, for a new step of the plan."""
    return replace(test, process=reset(test.process), agreement=test.agreement and test.agreement.restart())


def update(test: RateTest, windows: RateWindows, effect: float | FloatArray = 1.0) -> RateTest:
    """Return the test after one look's windows.

    effect: how many times the variance of independent observations theirs is, at least 1: evidence is divided by it. Of
    several rates one for each, of the shape of the test's.

    A window without requests in one arm is no evidence, but what it has of the stable arm joins the past. Against a
    limit (`Margin.is_limit`) the test arm's requests are enough.
    """
    informative = informative_windows(test, windows)
    if not informative.any():
        return after_look(test, windows, test.process)
    alone = not isinstance(effect, np.ndarray) and effect == 1.0
    if test.boost and test.margin == Margin() and alone:
        return after_look(test, windows, _boosted(test, windows, informative))
    (bets,) = log_bets_each([wager_of(test, windows, informative)])
    return after_look(test, windows, after_bets(test, bets, effect))


def informative_windows(test: RateTest, windows: RateWindows) -> npt.NDArray[np.bool_]:
    """Return which windows are evidence, (windows, *shape). Raises ValueError for windows of another shape."""
    if windows.n_test.shape[1:] != test.n_past.shape:
        raise ValueError(f"windows must have shape (windows, *{test.n_past.shape}), got {windows.n_test.shape}")
    comparable = (windows.n_stable > 0) & (test.n_past >= ENOUGH_PAST)
    informative: npt.NDArray[np.bool_] = (windows.n_test > 0) & (test.margin.is_limit | comparable)
    return informative


def wager_of(test: RateTest, windows: RateWindows, informative: npt.NDArray[np.bool_]) -> Wager:
    """Return what the test bets on the windows."""
    known = smoothed_rate(test.n_past, test.x_past)
    n_test = np.where(informative, windows.n_test, 0.0)
    return Wager(test.side, test.margin, known, known, (n_test, windows.x_test), (windows.n_stable, windows.x_stable))


def after_bets(test: RateTest, bets: FloatArray, effect: float | FloatArray) -> EProcess:
    """Return the test's process after bets on windows, (windows, *shape, J)."""
    by_rate = bets.sum(axis=0) / np.asarray(effect)[..., np.newaxis]
    # Of any of several rates all candidates share one wealth.
    return advance(test.process, by_rate.reshape(*test.process.log_e.shape, -1), test.cap)


def after_look(test: RateTest, windows: RateWindows, process: EProcess) -> RateTest:
    """Return the test with the windows in its past, and its process after them."""
    agreement = test.agreement
    if agreement is not None and process is not test.process:
        agreement, process = agreement.after(test.process, process)
    n_past, x_past = frozen(test.n_past + windows.totals[2]), frozen(test.x_past + windows.totals[3])
    return RateTest(test.side, test.margin, test.cap, n_past, x_past, process, test.boost, agreement)


def _boosted(test: RateTest, windows: RateWindows, informative: npt.NDArray[np.bool_]) -> EProcess:
    """One window after another, since each is boosted by what there is before it.

    What is held back must be won beyond the level.
    """
    process, stable_rate = test.process, smoothed_rate(test.n_past, test.x_past)
    threshold = test.boost + test.excess
    table = np.stack((windows.n_test, windows.x_test, windows.n_stable, windows.x_stable), axis=-1)
    for window in table[informative]:
        process = advance(process, boosted_bets(process, threshold, stable_rate, window), test.cap)
    return process


def _test(
    side: Side, margin: Margin, cap: float, n_past: npt.ArrayLike, x_past: npt.ArrayLike, *, reserve: float
) -> RateTest:
    n, x = checked_counts("n_past", n_past), checked_counts("x_past", x_past)
    check_part("x_past", x, "n_past", n)
    return RateTest(side, margin, cap, n, x, open_process(prior_weights(side), reserve, n.shape))
