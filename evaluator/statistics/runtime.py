"""P2: runtimes of the test version against the control arm's, within each batch size.

Harm: the null is that no batch size is slower than the control made slower by the margin, in stochastic
order; the bets are those of `shapes`. Non-inferiority: with tau the control's quantile from the past, the
null is P_test(Y > g**k * tau) >= P_control(Y > tau) + a, k the margin in buckets of ratio g, by the bets of
`bets`. At the median a is 0. Of the tail, tau is the 99th percentile and a some points: without them an alike
version would need thousands of batches, since both sides are 1 % at most.

Batch sizes differ in their pasts and so in what is bet, but a candidate is one idea ("20 % slower") in all of
them: its e-values multiply over the batch sizes and instances of a look, which are independent given the
past. The price of not knowing the right candidate is then paid once and not once per batch size.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from evaluator.statistics import bets, shapes
from evaluator.statistics.agreement import Agreement
from evaluator.statistics.bets import Margin, Side
from evaluator.statistics.counts import FloatArray, checked_counts
from evaluator.statistics.histograms import Past, RuntimeWindows, at_least, quantile_bucket, shifted
from evaluator.statistics.process import EProcess, advance, look_cap, open_process
from evaluator.statistics.wagers import Wager, log_bets_each

# Fewer batches of one size than these say too little of its histogram to bet on a shape.
ENOUGH_PAST: Final = 30
LATE_HARM: Final = 0.1
TAIL: Final = 0.99
"""The control's quantile from which on batches are of the tail."""


_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True, eq=False)
class RuntimeTest:
    """The state of one P2 test, or of an array of them of shape `shape`: () but in simulations.

    ratio: that of the geometric bounds. margin: in buckets. quantile: that of tau, for non-inferiority. cap:
    of one look, see `process.advance`. offset: share of the batches by which the test version may have more
    beyond tau; above 0 only of the tail. agreement: as in `RateTest`.
    """

    side: Side
    ratio: float
    margin: int
    quantile: float
    cap: float
    past: Past
    process: EProcess
    offset: float = 0.0
    agreement: Agreement | None = None

    @property
    def log_e(self) -> float:
        """ln E at the last look: what non-inferiority is read from."""
        return float(self.process.log_e) - (0.0 if self.agreement is None else self.agreement.excess)

    @property
    def max_log_e(self) -> float:
        """The greatest ln E so far: what harm is read from."""
        return float(self.process.max_log_e)


def runtime_harm_test(
    buckets: int,
    ratio: float,
    alpha: float,
    margin: int = 1,
    *,
    late: float = LATE_HARM,
    agreeing_looks: int = 3,
    shape: tuple[int, ...] = (),
) -> RuntimeTest:
    """Return a fresh test of harm over histograms of `buckets` buckets whose bounds have the given ratio.

    alpha, late, agreeing_looks: as in `rates.harm_test`. margin: buckets by which the test version may be
    slower.
    """
    cap = look_cap(alpha, agreeing_looks)
    process = open_process(shapes.prior_weights(), late, shape)
    return _checked(RuntimeTest(Side.HARM, ratio, margin, 0.5, cap, Past.empty(buckets, shape), process))


def runtime_non_inferiority_test(
    buckets: int, ratio: float, margin: int = 2, quantile: float = 0.5, *, shape: tuple[int, ...] = ()
) -> RuntimeTest:
    """Return a fresh test of non-inferiority: at the control's `quantile` not slower by `margin` buckets or more.

    With a margin of 0 or less it is one of superiority: faster by as many buckets, or at all.
    """
    weights = bets.prior_weights(Side.NON_INFERIOR) if margin > 0 else bets.superiority_weights()
    process = open_process(weights, shape=shape)
    past = Past.empty(buckets, shape)
    return _checked(RuntimeTest(Side.NON_INFERIOR, ratio, margin, quantile, math.inf, past, process))


def runtime_superiority_test(
    buckets: int, ratio: float, faster: int, alpha: float, *, agreeing_looks: int = 3
) -> RuntimeTest:
    """Return a fresh test of superiority: at the control's median faster by more than `faster` buckets; 0: at all.

    alpha, agreeing_looks: as in `rates.superiority_test`. One look of a slow control process makes no winner either.
    """
    test = runtime_non_inferiority_test(buckets, ratio, -faster)
    return replace(test, agreement=Agreement.of(alpha, agreeing_looks))


def runtime_tail_test(
    buckets: int, ratio: float, margin: int, offset: float, *, shape: tuple[int, ...] = ()
) -> RuntimeTest:
    """Return a fresh test of the tail's non-inferiority.

    Its null: beyond the control's p99, made slower by `margin` buckets, the test version has more of its batches than
    the control has beyond its p99, by `offset` or more.
    """
    test = runtime_non_inferiority_test(buckets, ratio, margin, TAIL, shape=shape)
    process = open_process(bets.prior_weights(Side.NON_INFERIOR), shape=shape)
    return _checked(replace(test, offset=offset, process=process))


def seed(test: RuntimeTest, rows: Iterable[tuple[int, Sequence[int]]]) -> RuntimeTest:
    """Return the test with rows (batch size, counts) added to its past.

    The past is where bets come from: histograms of a process under another load, such as the stable version's
    while it had all of the traffic, make poor ones.
    """
    return seed_each([test], rows)[0]


def seed_each(tests: Sequence[RuntimeTest], rows: Iterable[tuple[int, Sequence[int]]]) -> list[RuntimeTest]:
    """Return tests with rows added to the past of each; where they have one past they go on with one."""
    known = list(rows)
    pasts = _of_each_past(tests, lambda past: _plus(past, known))
    return [replace(test, past=past) for test, past in zip(tests, pasts, strict=True)]


def _plus(past: Past, rows: Sequence[tuple[int, Sequence[int]]]) -> Past:
    for batch, row in rows:
        counts = checked_counts("past", [row])
        if counts.shape[1:] != past.counts.shape[1:]:
            raise ValueError(f"past must have {_by(past.counts)} buckets, got {_by(counts)}")
        past = past.knowing([batch]).plus([batch], counts)
    return past


def _of_each_past(tests: Sequence[RuntimeTest], make: Callable[[Past], _Made]) -> list[_Made]:
    """Return what is made of each test's past, made once of a past that several have."""
    made: list[tuple[Past, _Made]] = []
    for test in tests:
        known = next((one for past, one in made if past is test.past), None)
        made.append((test.past, make(test.past) if known is None else known))
    return [one for _, one in made]


def restart(test: RuntimeTest) -> RuntimeTest:
    """Return the test with E = 1 and its past kept, for a new step of the plan."""
    process = test.process
    opened = open_process(np.exp(process.log_weights), process.reserve, process.log_e.shape)
    return replace(test, process=opened, agreement=test.agreement and test.agreement.restart())


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """The windows of one look as far as a past can judge them: the same for all tests that have this past.

    after: the past with the look's. informative: (rows, *shape) which windows are evidence; of
    these test and control, (informative, buckets), are the counts, and histograms[row_of] the past's.
    """

    after: Past
    informative: npt.NDArray[np.bool_]
    test: FloatArray
    control: FloatArray
    histograms: FloatArray
    row_of: npt.NDArray[np.intp]


def _judged_by(past: Past, windows: RuntimeWindows) -> _Judged:
    """Return the windows as a past judges them. Raises ValueError for windows of other buckets."""
    if windows.test.shape[1:] != past.counts.shape[1:]:
        raise ValueError(f"windows must have {_by(past.counts)} buckets, got {_by(windows.test)}")
    known = past.knowing(windows.batches)
    rows = known.rows(windows.batches)
    enough = known.counts.sum(axis=-1)[rows] >= ENOUGH_PAST
    informative = enough & (windows.n_test > 0) & (windows.n_control > 0)
    # Of each past that windows are judged by the bets are made once.
    cells = np.arange(known.counts[..., 0].size).reshape(known.counts.shape[:-1])[rows]
    used, row_of = np.unique(cells[informative], return_inverse=True)
    return _Judged(
        known.plus(windows.batches, windows.control),
        informative,
        windows.test[informative],
        windows.control[informative],
        known.counts.reshape(-1, known.counts.shape[-1])[used],
        row_of,
    )


def update(test: RuntimeTest, windows: RuntimeWindows) -> RuntimeTest:
    """Return the test after one look's windows.

    A window without batches in one arm is no evidence, but what it has of the control arm joins the past.
    """
    return update_each([test], windows)[0]


def update_each(tests: Sequence[RuntimeTest], windows: RuntimeWindows) -> list[RuntimeTest]:
    """Return tests after one look's windows; where they have one past they go on with one."""
    judged = list(zip(tests, _of_each_past(tests, lambda past: _judged_by(past, windows)), strict=True))
    wagered = iter(log_bets_each([_wager_of(*one) for one in judged if _wagers(*one)]))
    return [_update(*one, next(wagered) if _wagers(*one) else None) for one in judged]


def _wagers(test: RuntimeTest, judged: _Judged) -> bool:
    """Whether it has a wager on the windows: harm bets on the histograms' shapes."""
    return test.side is Side.NON_INFERIOR and len(judged.test) > 0


def _update(test: RuntimeTest, judged: _Judged, wagered: FloatArray | None) -> RuntimeTest:
    process, agreement = test.process, test.agreement
    if len(judged.test):
        log_e = np.zeros((*judged.informative.shape, process.log_weights.size))
        log_e[judged.informative] = _log_bets_harm(test, judged) if wagered is None else wagered
        process = advance(process, log_e.sum(axis=0), test.cap)
        if agreement is not None:
            agreement, process = agreement.after(test.process, process)
    return replace(test, past=judged.after, process=process, agreement=agreement)


def _log_bets_harm(test: RuntimeTest, judged: _Judged) -> FloatArray:
    past, row_of, arm, control = judged.histograms, judged.row_of, judged.test, judged.control
    slower = shifted(control, test.margin)
    n_test, n_control = arm.sum(axis=-1), slower.sum(axis=-1)
    both = n_test + n_control
    # Most buckets are empty at a look, and say nothing.
    counted = np.flatnonzero((arm + slower).any(axis=0))
    logs = shapes.log_ratios(shifted(past, test.margin), test.ratio, counted)[row_of]
    log_test, log_control = shapes.log_evidence(logs, n_test / both, n_control / both)
    log_e = np.zeros((*logs.shape[:-1], arm.shape[-1]))
    log_e[..., counted] = arm[:, np.newaxis, counted] * log_test + slower[:, np.newaxis, counted] * log_control
    total: FloatArray = log_e.sum(axis=-1)
    return total


def _wager_of(test: RuntimeTest, judged: _Judged) -> Wager:
    """Return what a test of non-inferiority bets on the windows."""
    past, row_of, arm, control = judged.histograms, judged.row_of, judged.test, judged.control
    cut = cut_of(test, past)
    tail, slower_tail = at_least(past, cut), at_least(past, cut + test.margin)
    n_past = past.sum(axis=-1)
    stable_rate = bets.smoothed_rate(n_past, tail)[row_of]
    alike = bets.smoothed_rate(n_past, slower_tail)[row_of]
    # A cut beyond the last bucket counts nothing of the test arm, which would pass for fast.
    countable = (cut + test.margin < arm.shape[-1])[row_of]
    return Wager(
        test.side,
        Margin(test.offset),
        stable_rate,
        alike,
        test=(np.where(countable, arm.sum(axis=-1), 0.0), at_least(arm, (cut + test.margin)[row_of])),
        stable=(control.sum(axis=-1), at_least(control, cut[row_of])),
    )


def cut_of(test: RuntimeTest, past: FloatArray) -> npt.NDArray[np.intp]:
    """Return the first bucket beyond tau, per row of a test's `past` (rows, buckets).

    At the median it is the bucket that holds tau, so that half of the past at least lies beyond. Of the tail it is the
    next one, so that no more of the past lies beyond than there should. Batches are not told apart in the last, open
    bucket: a tail that lies there is compared from as far up as a slower one can be told from it.
    """
    cut = quantile_bucket(past, test.quantile)
    if not test.offset:
        return cut
    return np.asarray(np.minimum(cut + 1, past.shape[-1] - 1 - test.margin))


def _checked(test: RuntimeTest) -> RuntimeTest:
    if not (math.isfinite(test.ratio) and test.ratio > 1.0):
        raise ValueError(f"ratio must be greater than 1, got {test.ratio}")
    most = test.past.counts.shape[-1] - 1
    if not (0 if test.side is Side.HARM else -most) <= test.margin <= most:
        raise ValueError(f"margin must lie in 0 to {most} buckets, got {test.margin}")
    if not 0.0 <= test.offset < 1.0:
        raise ValueError(f"offset must be a share below 1, got {test.offset}")
    if not 0.0 < test.quantile < 1.0:
        raise ValueError(f"quantile must lie between 0 and 1, got {test.quantile}")
    return test


def _by(counts: FloatArray) -> str:
    return " by ".join(str(size) for size in counts.shape[1:])
