"""A gate's evidence: the e-processes of harm and of non-inferiority, and the counts that people are shown."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from evaluator.gates.few import NOBODY, gathered
from evaluator.gates.judging import Judging
from evaluator.gates.lines import limit_rate, line, safe_limit
from evaluator.gates.recent_looks import NO_LOOKS, RecentLooks
from evaluator.gates.step_counts import NO_COUNTS, StepCounts
from evaluator.statistics import rates
from evaluator.statistics.bets import Margin, smoothed, smoothed_rate
from evaluator.statistics.confusion import f1_from_unlike, unlike_margin
from evaluator.statistics.intervals import RateEstimate
from evaluator.statistics.power import needed, rate_growth, remaining
from evaluator.statistics.rates import RateTest, RateWindows
from evaluator.statistics.side_by_side import Judged, update_each
from evaluator.window.labels import RateRow
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Gate

OfArms = tuple[int, int]
"""Of the test and of the stable arm."""


@dataclass(frozen=True, slots=True, eq=False)
class RateGate:
    """Evidence of a gate on two rates.

    Attributes:
        gate: what it watches.
        harm: evidence that the test version is worse.
        safe: evidence that it is no worse, since the step's start.
        seen: both arms in all judged windows, for people's eyes.
        step_n: attempts or labels of the test arm that `safe` has compared with stable's.
        needs: attempts or labels of the test arm with which a harm of the safe margin would have shown; infinity: no
            number is enough; None: not known yet.
        alpha: the probability with which it may roll back a version as good as stable.
        effect: of rows of one request that are alike: evidence of labels is divided by it.
        seen_class: labelled rows of the gate's class among those that `harm` took, of the test and of the stable arm.
        step_class: likewise among those that `safe` took since the step's start.
        step: what both arms had since the step's start: what `safe` has taken, and what was kept back.
        recent: the latest of its looks one by one, where it is judged by each look's attempts.
        kept_back: requests of those that Routers' breakers kept from the test version, and how many would have failed.
        alone: what windows without one of the arms have counted, which waits for the other arm's.
        drawn: whether the lines of its tests are what the policy asks for. F1 is no rate, and its margins become those
            of one when stable's own F1 is known; nothing is judged before.
    """

    gate: Gate
    harm: RateTest
    safe: RateTest
    alpha: float
    seen: RateEstimate = field(default_factory=RateEstimate)
    step_n: int = 0
    needs: float | None = None
    drawn: bool = True
    effect: float = 1.0
    seen_class: OfArms = (0, 0)
    step_class: OfArms = (0, 0)
    step: StepCounts = NO_COUNTS
    recent: RecentLooks = NO_LOOKS
    kept_back: tuple[int, int] = (0, 0)
    alone: RateRow = NOBODY

    @property
    def test_n(self) -> int:
        """Attempts or labels of the test arm that were judged."""
        return int(self.seen.n_test)

    @property
    def limit_rate(self) -> float | None:
        """The rate that is judged, at the gate's limit; None: it compares with stable."""
        return None if self.gate.limit is None else limit_rate(self.gate)

    def learn(self, rows: Sequence[RateRow]) -> "RateGate":
        """The gate with what stable counted added to the past, and nothing judged.

        Not while its lines are still to be drawn by the past: these are rows of any age, and an F1 of which only the
        labels of one class have come is not stable's.
        """
        if not rows or not self.drawn:
            return self
        windows = RateWindows.of([(0, 0, n, x) for _, _, n, x in rows])
        return replace(self, harm=rates.update(self.harm, windows), safe=rates.update(self.safe, windows))

    def knowing(self, n: int, x: int) -> "RateGate":
        """The gate that takes stable to have counted x of n, and draws its lines by that: for forecasts."""
        windows = RateWindows.of([(0, 0, n, x)])
        known = replace(self, harm=rates.update(self.harm, windows), safe=rates.update(self.safe, windows))
        return known.draw()

    def judging(self, rows: Sequence[RateRow], in_sum: Sequence[RateRow] | None = None) -> "Judging[RateGate] | None":
        """Both tests before rows that show harm and safety alike; None: there are no rows.

        Args:
            rows: what is tested.
            in_sum: what is added up; None: the same.
        """
        if not rows:
            return None
        gate, windows = self.draw(), RateWindows.of(rows)

        def after(harm: RateTest, safe: RateTest) -> RateGate:
            judged = _shown(_harmed(gate, harm, windows), safe, GateRows(rows, in_sum=in_sum))
            return replace(judged, recent=gate.recent.plus(rows))

        return Judging(Judged(gate.harm, windows, gate.effect), Judged(gate.safe, windows, gate.effect), after)

    def gathering(self, rows: Sequence[RateRow]) -> tuple["RateGate", list[RateRow]]:
        """The gate, and those rows that it can compare, together with what waited for them."""
        if self.gate.limit is not None:
            return self, list(rows)
        both, alone = gathered(self.alone, rows)
        return replace(self, alone=alone), both

    def judge_harm(self, rows: Sequence[RateRow], of_class: OfArms = (0, 0)) -> "RateGate":
        """The gate after rows that harm is judged by; `of_class`: how many labels of them are of its class."""
        return judge_harm_each([self], [GateRows(rows, of_class)])[0]

    def judge_safe(self, rows: Sequence[RateRow], of_class: OfArms = (0, 0)) -> "RateGate":
        """The gate after rows that non-inferiority is judged by; `of_class`: as in `judge_harm`."""
        return judge_safe_each([self], [GateRows(rows, of_class)])[0]

    def restart(self) -> "RateGate":
        """The gate with fresh evidence of non-inferiority."""
        fresh = replace(self, safe=rates.restart(self.safe), step_n=0, step_class=(0, 0), step=NO_COUNTS)
        return replace(fresh, kept_back=(0, 0), alone=NOBODY, recent=NO_LOOKS)

    def freeze(self, alpha: float, power: float, share: float) -> "RateGate":
        """The gate with `needs`, once stable's past says what it takes; it never changes afterwards."""
        if self.needs is not None or not self._knows(self.harm):
            return self
        if self.gate.better is not None:
            return replace(self, needs=math.inf)
        gate = self.draw()
        stable = float(smoothed_rate(gate.harm.n_past, gate.harm.x_past))
        return replace(gate, needs=_shows_harm(gate, (alpha, power), share, stable, stable))

    def renew(self, alpha: float, power: float) -> "RateGate":
        """The gate with more `needs`, where a harm takes more to show in this step than was fixed at the start.

        Stable's rate may have been an incident's then, and the step may have another share. It never becomes less: what
        was seen makes nothing easier to pass.
        """
        n, x = self.step.n_stable, self.step.x_stable
        if self.needs is None or self.gate.limit is not None or self.gate.better is not None or not (n and self.step_n):
            return self
        # Bets were made by stable's whole past, and have learnt the step's rate by and by: as in its middle.
        n_past, x_past = float(self.harm.n_past) - n / 2.0, float(self.harm.x_past) - x / 2.0
        known = smoothed(max(n_past, 0.0), min(max(x_past, 0.0), max(n_past, 0.0)))
        share = self.step_n / (self.step_n + n)
        return replace(self, needs=max(self.needs, _shows_harm(self, (alpha, power), share, smoothed(n, x), known)))

    @property
    def unsafe(self) -> bool:
        """Whether the version stands beyond its safe margin by all that was counted in this step.

        The e-processes are of versions that are worse in every window. One that is worse in some by far, and as good in
        between, is no more than a third of the way to its bar after each of them, and loses that again.
        """
        if self.gate.better is not None:
            return False
        if self.gate.limit is not None:
            return self.step.exceeds(safe_limit(self.gate))
        return self.step.is_beyond(self.safe.margin.a, self.safe.margin.b)

    def is_near_margin(self, alpha: float) -> bool:
        """Whether one test at level alpha of all that was counted in this step does not show the version to be safe."""
        if self.gate.better is not None:
            return False
        if self.gate.limit is not None:
            return self.step.is_near_limit(safe_limit(self.gate), alpha, self.effect)
        return self.step.is_near(self.safe.margin.a, self.safe.margin.b, alpha, self.effect)

    def remaining(self, alpha: float, share: float) -> int | None:
        """Forecast: mature attempts or labels of the test arm until PASS; None: unknown.

        If the versions are alike; where that shows nothing (a limit, an A/B test), if the version goes on as it was.
        """
        if not self._knows(self.safe):
            return None
        stable = float(smoothed_rate(self.safe.n_past, self.safe.x_past))
        test = stable
        if self.gate.limit is not None or self.gate.better is not None:
            if self.seen.n_test:
                test = float(smoothed_rate(self.seen.n_test, self.seen.x_test))
            elif not self.safe.n_past:
                return None
        # What is held back of a winner's evidence must be won beyond the bar.
        level = alpha * math.exp(-self.safe.excess)
        more = remaining(self.safe.process, rate_growth(self.safe, test, stable, share), level)
        return None if more is None else math.ceil(more * self.effect)

    @staticmethod
    def _knows(test: RateTest) -> bool:
        return test.margin.is_limit or bool(test.n_past >= rates.ENOUGH_PAST)

    def draw(self) -> "RateGate":
        """The gate with its lines drawn by stable's past, before the first bet and never again."""
        if self.drawn or self.harm.n_past < rates.ENOUGH_PAST:
            return self
        f1 = f1_from_unlike(float(smoothed_rate(self.harm.n_past, self.harm.x_past)))
        better = self.gate.better
        harm = unlike_margin(self.gate.harm.offset, f1)
        safe = unlike_margin(self.gate.safe.offset if better is None else -better.offset, f1)
        return replace(
            self,
            harm=replace(self.harm, margin=Margin(harm)),
            safe=replace(self.safe, margin=Margin(safe)),
            drawn=True,
        )


def _shows_harm(gate: RateGate, test: tuple[float, float], share: float, stable: float, known: float) -> float:
    """Attempts or labels with which a harm of the safe margin shows; infinity: no number is enough.

    Args:
        gate: with its lines drawn.
        test: its alpha and its power.
        share: the test arm's part of both arms.
        stable: its rate.
        known: the same as the bets take it to be.
    """
    worse = min(gate.safe.margin.a + gate.safe.margin.b * stable, 1.0)
    if gate.gate.limit is not None:
        worse = min(safe_limit(gate.gate), 1.0)
    found = needed(gate.harm.process, rate_growth(gate.harm, worse, stable, share, known), *test)
    return math.inf if found is None else float(found) * gate.effect


class GateRows(NamedTuple):
    """What a gate takes at a look: its rows, how many labels of them are of its class, and what of it is added up."""

    rows: Sequence[RateRow] = ()
    of_class: OfArms = (0, 0)
    in_sum: Sequence[RateRow] | None = None


def judge_harm_each(gates: Sequence[RateGate], taken: Sequence[GateRows]) -> list[RateGate]:
    """Gates after the rows that each one's harm is judged by."""
    after = [gate.draw() for gate in gates]
    judging = [(place, RateWindows.of(one.rows)) for place, one in enumerate(taken) if one.rows]
    tests = update_each([Judged(after[place].harm, windows, after[place].effect) for place, windows in judging])
    for (place, windows), harm in zip(judging, tests, strict=True):
        after[place] = _harmed(after[place], harm, windows, taken[place].of_class)
    return after


def judge_safe_each(gates: Sequence[RateGate], taken: Sequence[GateRows]) -> list[RateGate]:
    """Gates after the rows that each one's non-inferiority is judged by."""
    after = [gate.draw() for gate in gates]
    judging = [place for place, one in enumerate(taken) if one.rows]
    judged = [Judged(after[place].safe, RateWindows.of(taken[place].rows), after[place].effect) for place in judging]
    for place, safe in zip(judging, update_each(judged), strict=True):
        after[place] = _shown(after[place], safe, taken[place])
    return after


def _harmed(gate: RateGate, harm: RateTest, windows: RateWindows, of_class: OfArms = (0, 0)) -> RateGate:
    known = _plus(gate.seen_class, of_class)
    return replace(gate, harm=harm, seen=gate.seen.plus(windows, gate.effect), seen_class=known)


def _shown(gate: RateGate, safe: RateTest, taken: GateRows) -> RateGate:
    # Attempts that nothing was compared with show nothing, unless they are held against a number.
    step_n = gate.step_n + sum(row[0] for row in taken.rows if row[2] or gate.gate.limit is not None)
    known = _plus(gate.step_class, taken.of_class)
    if taken.in_sum is None:
        return replace(gate, safe=safe, step_n=step_n, step_class=known, step=gate.step.plus(taken.rows))
    n, failed = (sum(row[of] for row in taken.in_sum) - sum(row[of] for row in taken.rows) for of in (0, 1))
    step, kept_back = gate.step.plus(taken.in_sum), _plus(gate.kept_back, (n, failed))
    return replace(gate, safe=safe, step_n=step_n, step_class=known, step=step, kept_back=kept_back)


def rate_gate(gate: Gate, alpha: float, agreeing: int = 3, promote: float = 0.05) -> RateGate:
    """A gate on rates without evidence.

    Args:
        gate: what it watches.
        alpha: the probability with which it may roll back a version as good as stable.
        agreeing: looks that must agree on harm at least, and on a winner.
        promote: the probability with which it passes a version at its margin.
    """
    if gate.limit is not None:
        limit = Margin(limit_rate(gate), 0.0)
        return RateGate(
            gate, rates.harm_test(limit, alpha, agreeing_looks=agreeing), rates.non_inferiority_test(limit), alpha
        )
    if gate.better is not None:
        safe = rates.superiority_test(gate.better.offset, promote, agreeing_looks=agreeing)
    else:
        safe = rates.non_inferiority_test(line(gate.safe))
    harm = rates.harm_test(line(gate.harm), alpha, agreeing_looks=agreeing)
    return RateGate(gate, harm, safe, alpha, drawn=gate.metric is not MetricKind.F1)


def _plus(one: OfArms, other: OfArms) -> OfArms:
    return one[0] + other[0], one[1] + other[1]
