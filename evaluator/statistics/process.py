"""A mixture e-process: wealth spread over candidate alternatives, some of it held back for later.

E = sum_j wealth_j + reserve; at the start the candidates hold 1 - reserve_0 by their prior weights. A look
multiplies wealth_j by its bet e_j, whose conditional expectation under the null is at most 1, so E is a
non-negative supermartingale with start 1 and P(E ever >= 1/alpha) <= alpha (Ville). Two things are added to
the plain mixture, both of which keep that:

- **Reserve.** Through a long calm stretch a plain mixture sinks without bound, and harm that begins then must
  first win all of it back. At the k-th look a fraction 1/(k+1) of the reserve moves to the candidates by
  their prior weights, which is the mixture over bets that start at look k with prior weight 1/(k(k+1)).
  Moving wealth at a time fixed in advance leaves its sum unchanged. The delay after k calm looks is then at
  most that of 2 ln(k) - ln(reserve_0) more of log E, whatever was seen before.
- **Cap.** One look can be kept from raising E above C max(E, 1), E its value before: with C the third root of
  1/alpha, no fewer than three looks reach 1/alpha. Wealth given away has no greater expectation, so what is
  left is a supermartingale too. Every candidate's wealth and the reserve are raised alike at such a look: what
  the bets have won of it is too much to be learnt from. Where each kept its part, a process that failed at one
  look left all wealth with "everything fails", and a rise from .5 to 2 % that came with it was found after 120
  looks instead of 18.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from evaluator.statistics.counts import FloatArray, frozen


@dataclass(frozen=True, slots=True, eq=False)
class EProcess:
    """The state of one mixture e-process, or of an array of them of shape `shape`.

    log_weights: (J,) the candidates' prior weights, in natural logarithms; they sum to 1.
    reserve:     the share of the wealth held back at the start.
    log_wealth:  (*shape, J+1) ln wealth per candidate, the reserve last.
    looks:       looks that brought evidence.
    log_e:       (*shape) ln E at the last look, whose exponential is an e-value at any stopping time.
    max_log_e:   (*shape) the greatest ln E so far, for "has it ever reached 1/alpha".
    """

    log_weights: FloatArray
    reserve: float
    log_wealth: FloatArray
    looks: int
    log_e: FloatArray
    max_log_e: FloatArray


def open_process(weights: FloatArray, reserve: float = 0.0, shape: tuple[int, ...] = ()) -> EProcess:
    """Return a fresh process with E = 1.

    weights: (J,) positive, of any sum. reserve: share of the wealth held back for later, in [0, 1).
    """
    if weights.ndim != 1 or weights.size == 0 or not (np.isfinite(weights) & (weights > 0)).all():
        raise ValueError("weights must be one row of positive numbers")
    if not 0.0 <= reserve < 1.0:
        raise ValueError(f"reserve must lie in [0, 1), got {reserve}")
    log_weights = np.log(weights / weights.sum())
    log_reserve = math.log(reserve) if reserve > 0.0 else -math.inf
    wealth = np.append(log_weights + math.log1p(-reserve), log_reserve)
    zero = frozen(np.zeros(shape))
    return EProcess(
        log_weights=frozen(log_weights),
        reserve=reserve,
        log_wealth=frozen(np.broadcast_to(wealth, (*shape, wealth.size)).copy()),
        looks=0,
        log_e=zero,
        max_log_e=zero,
    )


def reset(process: EProcess) -> EProcess:
    """Return the process with E = 1, as it was opened."""
    log_reserve = math.log(process.reserve) if process.reserve > 0.0 else -math.inf
    wealth = np.append(process.log_weights + math.log1p(-process.reserve), log_reserve)
    zero = frozen(np.zeros(process.log_e.shape))
    opened = np.broadcast_to(wealth, process.log_wealth.shape).copy()
    return replace(process, log_wealth=frozen(opened), looks=0, log_e=zero, max_log_e=zero)


def advance(process: EProcess, log_bets: FloatArray, cap: float = math.inf) -> EProcess:
    """Return the process after one look.

    log_bets: (*shape, J) ln of each candidate's e-value for this look, summed over the look's windows.
    cap: the most by which this look may raise ln E above its value before, or above 0 where that was
    negative.
    """
    looks = process.looks + 1
    wealth, log_e, most = _after(
        process.log_wealth,
        log_bets,
        (process.log_e, process.max_log_e),
        cap,
        process.log_weights,
        (math.log1p(looks), math.log(looks / (looks + 1))),
    )
    return EProcess(process.log_weights, process.reserve, frozen(wealth), looks, frozen(log_e), frozen(most))


def advance_each(processes: Sequence[EProcess], log_bets: FloatArray, caps: Sequence[float]) -> list[EProcess]:
    """Return processes, each of shape () and of as many candidates, after one look: as `advance` of each by itself.

    log_bets: (processes, J). caps: as `cap`, of each.
    """
    looks = [process.looks + 1 for process in processes]
    before, most = (np.array(each) for each in zip(*((one.log_e, one.max_log_e) for one in processes), strict=True))
    wealth, log_e, most = _after(
        np.array([process.log_wealth for process in processes]),
        log_bets,
        (before, most),
        np.array(caps),
        np.array([process.log_weights for process in processes]),
        (
            np.array([[math.log1p(number)] for number in looks]),
            np.array([math.log(number / (number + 1)) for number in looks]),
        ),
    )
    return [
        EProcess(one.log_weights, one.reserve, frozen(wealth[row]), looks[row], frozen(log_e[row]), frozen(most[row]))
        for row, one in enumerate(processes)
    ]


def capped(
    before: tuple[FloatArray, FloatArray], after: tuple[FloatArray, FloatArray], cap: float | FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return ln wealth and ln E after a look, as far as it may count.

    before, after: both before the look, and after all of it.
    """
    (wealth, was), (won, log_e) = before, after
    most = np.maximum(was, 0.0) + cap
    beyond = np.asarray(log_e > most)
    if not beyond.any():
        return won, log_e
    log_e = np.minimum(log_e, most)
    return np.where(beyond[..., np.newaxis], wealth + (log_e - was)[..., np.newaxis], won), log_e


def _after(
    wealth: FloatArray,
    log_bets: FloatArray,
    before: tuple[FloatArray, FloatArray],
    cap: float | FloatArray,
    log_weights: FloatArray,
    parts: tuple[float, float] | tuple[FloatArray, FloatArray],
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return ln wealth, ln E and the greatest ln E after one look.

    wealth: before it. before: ln E and the greatest ln E. parts: minus ln of what part of the reserve moves to the
    candidates, and ln of what part stays.
    """
    after = wealth.copy()
    after[..., :-1] += log_bets
    after, log_e = capped((wealth, before[0]), (after, log_sum_exp(after)), cap)
    moved, left = parts
    after[..., :-1] = np.logaddexp(after[..., :-1], after[..., -1:] - moved + log_weights)
    after[..., -1] += left
    return after, log_e, np.maximum(before[1], log_e)


SUSPICION: Final = 0.33
"""Of the bar that evidence is held against: just what one look may bring."""


def log_threshold(alpha: float) -> float:
    """Return ln(1/alpha), where an e-process rejects its null at level alpha. Raises ValueError outside (0, 1)."""
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must lie between 0 and 1, got {alpha}")
    return -math.log(alpha)


def look_cap(alpha: float, looks: int = 3) -> float:
    """Return the cap on one look's growth of ln E that lets no fewer than `looks` looks reach ln(1/alpha).

    Rounded up by one part in 10^9, so that exactly `looks` capped looks reach the threshold in spite of
    rounding; any cap is valid.
    """
    if looks < 1:
        raise ValueError(f"looks must be at least 1, got {looks}")
    return log_threshold(alpha) / looks * (1.0 + 1e-9)


def log_sum_exp(values: FloatArray) -> FloatArray:
    """Return ln(sum(exp(values))) over the last axis, each row with a finite value and none of +infinity or NaN."""
    greatest = values.max(axis=-1, keepdims=True)
    total: FloatArray = np.log(np.exp(values - greatest).sum(axis=-1)) + greatest[..., 0]
    return total
