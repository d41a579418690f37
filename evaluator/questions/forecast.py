"""Before a rollout starts: what each gate needs, how long that takes, and whether the plan can conclude."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from evaluator.evidence.lateness import ENOUGH_LAGS
from evaluator.gates.balance import BalanceGate
from evaluator.gates.distributions import RATIO, DistributionGate
from evaluator.gates.each_class import EachClassGate
from evaluator.gates.limits import RuntimeLimitGate
from evaluator.gates.opening import RequestGate, agreeing_looks, open_by_requests
from evaluator.gates.rates import RateGate
from evaluator.questions.traffic import Traffic
from evaluator.questions.unwise import unwise
from evaluator.statistics.bets import smoothed_rate
from evaluator.statistics.confusion import f1_from_unlike, unlike_from_f1
from evaluator.statistics.power import needed, rate_growth, remaining, runtime_growth
from evaluator.terms import Terms
from services.common.policy.metrics import LABEL_METRICS, MetricKind, shown_in
from services.common.policy.records import DEFAULT_SAFE, SLICES_PER_PERIOD, Gate, Need, Policy, Step
from services.common.policy.timing import at_look, judged_from

_HALF = 50
"""Percent."""
TYPICAL = 0.5
"""The power with which "about so many" is meant."""


@dataclass(frozen=True, slots=True)
class Amount:
    """So many attempts, batches or labels of the test arm, and the seconds until the look that has them.

    From the step's begin, with the time in which it settles. Infinite seconds: there is no such traffic.
    """

    n: int
    seconds: float


@dataclass(frozen=True, slots=True)
class GateForecast:
    """One gate in one step.

    Attributes:
        gate: its name.
        metric: what it watches.
        positive: its class.
        required: promotion needs it.
        stable: stable's value now, as GateReport's estimates; NaN: unknown.
        safe: until it is shown that a version like stable is safe; of the primary gate, that one better by `drop` is.
        drop: the harm that is asked about, in the metric's unit (for runtimes relative: 0.1 is 10 % slower).
        harm: until that harm rolls the version back.
        enough: until the period's end promotes without proof.
    """

    gate: str
    metric: MetricKind
    positive: str
    required: bool
    stable: float
    safe: Amount | None
    drop: float
    harm: Amount | None
    enough: Amount | None
    primary: bool = False


@dataclass(frozen=True, slots=True)
class StepForecast:
    """One step.

    Attributes:
        step: the step.
        gates: what each gate needs.
        seconds: from its begin until all required gates are safe; infinity: they never are.
        concludes: it ends in its period.
        left_out: its gates of which nothing is counted before a start, or could be read.
        warnings: what is unwise about its times and margins, a sentence part each.
        larger: a share in basis points with which it would end in its period; 0: it does, or no such share is known.
    """

    step: Step
    gates: tuple[GateForecast, ...]
    seconds: float
    concludes: bool
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    larger: int = 0


def forecast(terms: Terms, traffic: Traffic, drops: Mapping[str, float], age: float = 0.0) -> tuple[StepForecast, ...]:
    """What each step of a plan needs at the traffic seen.

    Args:
        terms: of the rollout to come.
        traffic: the lane's.
        drops: harms to forecast, by gate; of others the one that a safe margin allows.
        age: seconds that counts may be old when they are read.
    """
    if age:
        # A window is judged that began when even such counts were of the split in force.
        settling = max(terms.policy.settling, age + terms.policy.look_interval)
        terms = replace(terms, policy=replace(terms.policy, settling=settling))
    steps = []
    for number, step in enumerate(terms.plan.steps):
        last = number == len(terms.plan.steps) - 1
        found = _step(terms, traffic, number, step, drops, last=last)
        if not found.concludes:
            # No larger share makes a split settle or labels age sooner, so that each share is forecast by itself.
            found = replace(found, larger=_larger(terms, traffic, number, step, last=last))
        steps.append(found)
    return tuple(steps)


def _step(
    terms: Terms, traffic: Traffic, number: int, step: Step, drops: Mapping[str, float], *, last: bool
) -> StepForecast:
    shown = [gate for gate in terms.policy.gates if shown_in(gate.metric, shadow=step.shadow)]
    gates = tuple(
        _gate(terms, traffic, state, number, step, drops)
        for gate in shown
        if not _unseen(gate, traffic) and (state := open_by_requests(gate, terms)) is not None
    )
    # Whether a version is better enough to win in time nobody knows before.
    required = [gate for gate in gates if gate.required and not gate.primary]
    seconds = max((gate.safe.seconds if gate.safe else math.inf for gate in required), default=math.inf)
    by_proof = max(seconds, step.min_duration) <= step.period
    by_power = not terms.superior and all(_within(gate.enough, step.period, last=last) for gate in required)
    unknown = any(_unseen(gate, traffic) and gate.need is Need.ALWAYS for gate in shown)
    concludes = by_proof or by_power if required else unknown
    left_out = tuple(gate.name for gate in shown if _unseen(gate, traffic))
    return StepForecast(step, gates, seconds, concludes, left_out, unwise(terms, step))


def _larger(terms: Terms, traffic: Traffic, number: int, step: Step, *, last: bool) -> int:
    """The smallest share in whole percent, up to half of the traffic, with which a step ends in its period; 0: none."""

    def concludes(percent: int) -> bool:
        return _step(terms, traffic, number, replace(step, share_bps=100 * percent), {}, last=last).concludes

    low, high = step.share_bps // 100, _HALF
    if low >= high or not concludes(high):
        return 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if concludes(middle) else (middle, high)
    return 100 * high


def _unseen(gate: Gate, traffic: Traffic) -> bool:
    """What nobody counts before a start (nothing is mirrored, no segment is watched), and what could not be read."""
    if gate.metric is MetricKind.CUSTOM:
        return not traffic.counts(gate)
    return gate.metric is MetricKind.PAIRED_ACCURACY or bool(gate.segment)


def longer(step: StepForecast) -> float:
    """The period in which the step would end with some room; infinity: none."""
    needed_gates = (gate for gate in step.gates if gate.required and not gate.primary)
    waits = [min(_seconds(gate.safe), _seconds(gate.enough)) for gate in needed_gates]
    return 1.3 * max(waits, default=math.inf)


def _gate(
    terms: Terms, traffic: Traffic, opened: RequestGate, number: int, step: Step, drops: Mapping[str, float]
) -> GateForecast:
    policy, gate = terms.policy, opened.gate
    share = step.share_bps / 10_000
    state = traffic.informed(opened)
    alpha = policy.gate_alpha(gate)
    pace = traffic.pace(state) * share
    drop = drops.get(gate.name, _allowed(state))
    frozen = state.freeze(alpha, policy.power, share)
    aged, mature = _label_waits(terms, traffic, gate, step)
    agreeing = agreeing_looks(gate, terms, number)
    # As many as agree on harm make a winner; that a version is no worse one look may show.
    of_safe = agreeing if gate.better is not None else 1
    return GateForecast(
        gate=gate.name,
        metric=gate.metric,
        positive=gate.positive,
        required=gate.need is Need.ALWAYS or (gate.need is Need.WITH_LABELS and traffic.labels.rows > 0),
        stable=_value(state),
        safe=_amount(policy, _shown(state, drop, policy.alpha_promote, share), pace, mature, of_safe),
        drop=drop,
        harm=_amount(policy, _harmed(state, drop, alpha, share), pace, aged, agreeing),
        enough=_amount(policy, frozen.needs, pace, mature),
        primary=gate.better is not None,
    )


def _label_waits(terms: Terms, traffic: Traffic, gate: Gate, step: Step) -> tuple[float, float]:
    """Seconds from a step's begin until counts show harm, and until they show "no worse", however many there are.

    Requests count once the split has settled. Labels count when their slice has ended and is old enough, of whatever
    part of the step; and in a lane that is new to them they show nothing to be safe before half of the period.
    """
    policy, settled = terms.policy, judged_from(terms.policy)
    if gate.metric not in LABEL_METRICS:
        return settled, settled
    age = max(policy.labels.min_age, traffic.label_lag) if policy.labels.follows_lag else policy.labels.min_age
    aged = age + step.period / SLICES_PER_PERIOD
    late = policy.labels.follows_lag and terms.declared and gate.metric is not MetricKind.VALUE
    unknown = late and traffic.late_labels < ENOUGH_LAGS
    return aged, max(aged, settled + step.period / 2.0) if unknown else aged


def _shown(gate: RequestGate, better: float, alpha: float, share: float) -> int | None:
    """Attempts, batches or labels until PASS: of a version like stable, or in the primary gate of a better one."""
    if gate.gate.better is None or not isinstance(gate, RateGate):
        return gate.remaining(alpha, share)
    if not gate.drawn or not gate.safe.n_past:
        return None
    stable = float(smoothed_rate(gate.safe.n_past, gate.safe.x_past))
    reached = max(stable - better, 0.0)
    if gate.gate.metric is MetricKind.F1:
        reached = unlike_from_f1(min(f1_from_unlike(stable) + better, 1.0))
    growth = rate_growth(gate.safe, reached, stable, share)
    return _times(remaining(gate.safe.process, growth, alpha), gate.effect)


def _amount(policy: Policy, n: float | None, pace: float, wait: float, agreeing: int = 1) -> Amount | None:
    if n is None or math.isinf(n):
        return None
    counted = n / pace if pace > 0 else (math.inf if n else 0.0)
    # What counts may all come at once, and still several looks have to agree.
    agreed = (agreeing - 1) * policy.look_interval
    return Amount(math.ceil(n), at_look(policy, wait + max(counted, agreed), agreeing))


def _within(amount: Amount | None, period: float, *, last: bool) -> bool:
    """Whether a period without a violation passes: with power in the last step, with some evidence before it."""
    return amount is not None and (amount.seconds <= period or (not last and math.isfinite(amount.seconds)))


def _seconds(amount: Amount | None) -> float:
    return math.inf if amount is None else amount.seconds


def _value(gate: RequestGate) -> float:
    """Stable's value now, as a report's estimate."""
    if isinstance(gate, EachClassGate):
        return _value(gate.shown)
    if isinstance(gate, BalanceGate):
        return math.nan
    if isinstance(gate, DistributionGate):
        return gate.past_median()
    if isinstance(gate, RuntimeLimitGate):
        return gate.past_seconds()
    if not gate.harm.n_past:
        return math.nan
    rate = float(gate.harm.x_past / gate.harm.n_past)
    return 1.0 - f1_from_unlike(rate) if gate.gate.metric is MetricKind.F1 else rate


def _allowed(gate: RequestGate) -> float:
    """The harm that the gate's safe margin stands for, in the metric's own unit; with a limit, one beyond it."""
    value = 0.0 if math.isnan(_value(gate)) else _value(gate)
    limit, safe = gate.gate.limit, gate.gate.safe
    if isinstance(gate, RuntimeLimitGate):
        beyond = gate.limit_seconds * RATIO ** DEFAULT_SAFE[MetricKind.RUNTIME].buckets
        return beyond / value - 1.0 if value else 0.0
    if isinstance(gate, DistributionGate):
        return RATIO**safe.buckets - 1.0
    if limit is not None:
        return max(limit.bad_rate() - value, 0.0) + DEFAULT_SAFE[gate.gate.metric].offset
    return safe.offset + (safe.factor - 1.0) * value


def _harmed(gate: RequestGate, drop: float, alpha: float, share: float) -> int | None:
    """Attempts, batches or labels of the test arm with which a harm typically rolls back; None: it never does."""
    if isinstance(gate, EachClassGate):
        found = [_harmed(part, drop, alpha / len(gate.parts), share) for part in gate.parts]
        known = [one for one in found if one is not None]
        return max(known) if len(known) == len(found) else None
    if isinstance(gate, BalanceGate):
        return _times(gate.harmed(drop, alpha, TYPICAL, share), gate.effect)
    if isinstance(gate, RuntimeLimitGate):
        return gate.harmed(gate.past_seconds() * (1.0 + drop) / gate.limit_seconds - 1.0, alpha, TYPICAL)
    if isinstance(gate, DistributionGate):
        if not gate.harm.past.counts.sum():
            return None
        buckets = round(math.log1p(drop) / math.log(RATIO))
        return needed(gate.harm.process, runtime_growth(gate.harm, buckets), alpha, TYPICAL)
    stable = float(smoothed_rate(gate.harm.n_past, gate.harm.x_past))
    harmed = min(stable + drop, 1.0)
    if gate.gate.metric is MetricKind.F1:
        harmed = unlike_from_f1(max(f1_from_unlike(stable) - drop, 0.0))
    if not gate.drawn:
        return None
    growth = rate_growth(gate.harm, harmed, stable, share)
    return _times(needed(gate.harm.process, growth, alpha, TYPICAL), gate.effect)


def _times(n: int | None, effect: float) -> int | None:
    return None if n is None else math.ceil(n * effect)
