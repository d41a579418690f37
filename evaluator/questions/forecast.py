"""Before a rollout starts: what each gate needs, how long that takes, and whether the plan can conclude."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from evaluator.evidence.lateness import ENOUGH_LAGS
from evaluator.gates.opening import RequestGate, agreeing_looks, open_by_requests
from evaluator.questions.amounts import allowed_by, until_harm, until_safe, value_of
from evaluator.questions.traffic import Traffic
from evaluator.questions.unwise import unwise
from evaluator.terms import Terms
from services.common.policy.metrics import LABEL_METRICS, MetricKind, shown_in
from services.common.policy.records import SLICES_PER_PERIOD, Gate, Need, Policy, Step
from services.common.policy.timing import at_look, judged_from

_HALF = 50
"""Percent."""


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


@dataclass(frozen=True, slots=True)
class _Lane:
    """What is known of a lane, whatever the step and its share.

    Attributes:
        traffic: the lane's.
        gates: by name, those of which anything is counted before a start, and what each counts per second.
        given_up: whether nobody waits for the forecast any more.
    """

    traffic: Traffic
    gates: Mapping[str, tuple[RequestGate, float]]
    given_up: Callable[[], bool]


class GivenUpError(Exception):
    """Nobody waits for the forecast any more."""


def forecast(
    terms: Terms,
    traffic: Traffic,
    drops: Mapping[str, float],
    age: float = 0.0,
    given_up: Callable[[], bool] = lambda: False,
) -> tuple[StepForecast, ...]:
    """What each step of a plan needs at the traffic seen.

    Args:
        terms: of the rollout to come.
        traffic: the lane's.
        drops: harms to forecast, by gate; of others the one that a safe margin allows.
        age: seconds that counts may be old when they are read.
        given_up: whether nobody waits for it any more; gates of many classes in a plan of many steps take a while.

    Raises:
        GivenUpError: nobody does.
    """
    if age:
        # A window is judged that began when even such counts were of the split in force.
        settling = max(terms.policy.settling, age + terms.policy.look_interval)
        terms = replace(terms, policy=replace(terms.policy, settling=settling))
    shadows = {step.shadow for step in terms.plan.steps}
    shown = [gate for gate in terms.policy.gates if any(shown_in(gate.metric, shadow=shadow) for shadow in shadows)]
    opened = (open_by_requests(gate, terms) for gate in shown if not _unseen(gate, traffic))
    informed = [traffic.informed(state) for state in opened if state is not None]
    lane = _Lane(traffic, {state.gate.name: (state, traffic.pace(state)) for state in informed}, given_up)
    steps = []
    for number, step in enumerate(terms.plan.steps):
        last = number == len(terms.plan.steps) - 1
        found = _step(terms, lane, number, step, drops, last=last)
        if not found.concludes:
            # No larger share makes a split settle or labels age sooner, so that each share is forecast by itself.
            found = replace(found, larger=_larger(terms, lane, number, step, last=last))
        steps.append(found)
    return tuple(steps)


def _step(
    terms: Terms, lane: _Lane, number: int, step: Step, drops: Mapping[str, float] | None, *, last: bool
) -> StepForecast:
    """What a step needs; `drops` None: only what it needs to end in its period, and nothing of harm."""
    shown = [gate for gate in terms.policy.gates if shown_in(gate.metric, shadow=step.shadow)]
    gates = tuple(_gate(terms, lane, gate, number, step, drops) for gate in shown if gate.name in lane.gates)
    # Whether a version is better enough to win in time nobody knows before.
    required = [gate for gate in gates if gate.required and not gate.primary]
    seconds = max((gate.safe.seconds if gate.safe else math.inf for gate in required), default=math.inf)
    by_proof = max(seconds, step.min_duration) <= step.period
    by_power = not terms.superior and all(_within(gate.enough, step.period, last=last) for gate in required)
    left_out = tuple(gate.name for gate in shown if _unseen(gate, lane.traffic))
    unknown = any(gate.name in left_out and gate.need is Need.ALWAYS for gate in shown)
    concludes = by_proof or by_power if required else unknown
    return StepForecast(step, gates, seconds, concludes, left_out, unwise(terms, step))


def _larger(terms: Terms, lane: _Lane, number: int, step: Step, *, last: bool) -> int:
    """The smallest share in whole percent, up to half of the traffic, with which a step ends in its period; 0: none."""

    def concludes(percent: int) -> bool:
        return _step(terms, lane, number, replace(step, share_bps=100 * percent), None, last=last).concludes

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
    terms: Terms, lane: _Lane, gate: Gate, number: int, step: Step, drops: Mapping[str, float] | None
) -> GateForecast:
    if lane.given_up():
        raise GivenUpError
    policy, traffic = terms.policy, lane.traffic
    share = step.share_bps / 10_000
    state, per_second = lane.gates[gate.name]
    alpha = policy.gate_alpha(gate)
    pace = per_second * share
    drop = allowed_by(state) if drops is None else drops.get(gate.name, allowed_by(state))
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
        stable=value_of(state),
        safe=_amount(policy, until_safe(state, drop, policy.alpha_promote, share), pace, mature, of_safe),
        drop=drop,
        harm=None if drops is None else _amount(policy, until_harm(state, drop, alpha, share), pace, aged, agreeing),
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
