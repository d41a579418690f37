"""Labels at one look: what is taken of them, and by which gates."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from evaluator.evidence.answers import Answers, Apart
from evaluator.evidence.ledger import Ledger, Length
from evaluator.evidence.reach import ALIKE, Reach, reach, reach_by_key
from evaluator.gates.cohorts import CohortGate
from evaluator.gates.distributions import DistributionGate
from evaluator.gates.each_class import EachClassGate
from evaluator.gates.maturity import ANY_GAP, is_alike, is_fair, is_misled, mixes, shows_young, unpaired
from evaluator.gates.opening import GateState
from evaluator.gates.paired import PairedGate
from evaluator.gates.rates import GateRows, RateGate, judge_harm_each, judge_safe_each
from evaluator.statistics.cohorts import CohortCounts
from evaluator.terms import Terms
from evaluator.window.arms import SliceKey
from evaluator.window.cohort_rows import cohort_labels
from evaluator.window.labels import LabelPair, error_distributions, label_rows, rows_of_class
from services.common.policy.metrics import CLASS_METRICS, LABEL_METRICS, MetricKind
from services.common.policy.records import Gate
from services.common.telemetry.bounds import VALUE_BOUNDS


class Known(NamedTuple):
    """Until when labels are known, and since when they count.

    Attributes:
        begun: when the rollout's first look read, seconds since 1970-01-01 UTC.
        read: when the process that was read first was.
        age: seconds after which a slice's labels may be complete.
        step: the present step.
        steps: the step by epoch.
        epoch: the present one.
        length: seconds that a slice of an epoch lasts.
        lateness: it is known how late labels of wrong answers come, without which nothing is mature.
        answers: by predicted class, where labels are of classes.
        effect: rows of a request that may get their labels together.
        steady: `read` on the scale of what was watched.
        asked: by key, attempts of the present split by slice.
    """

    begun: float
    read: float
    age: float
    step: int
    steps: dict[int, int]
    epoch: int
    length: Length
    lateness: bool = True
    answers: Answers = Answers()
    effect: float = 1.0
    steady: float = math.inf
    asked: Mapping[SliceKey, CohortCounts] | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """What a look takes of a ledger.

    Attributes:
        past: of slices without a test arm.
        young: of slices of any age.
        aged: of slices that are old enough.
        mature: of slices of the present step that are old enough and covered.
        coverage: share of the step's aged predictions with labels, test and stable; None: there are no such slices.
        ledger: with all of it taken.
        apart: classes whose answers get labels unlike all others' in the step's aged slices.
        by_gate: aged and mature labels of gates that wait until no class stands out; all others take those above.
        reach: how labels reach both arms in the step's aged slices.
        unpaired: of mirrored rows, the share that has no pair in the step's aged slices.
    """

    past: list[LabelPair]
    young: list[LabelPair]
    aged: list[LabelPair]
    mature: list[LabelPair]
    coverage: tuple[float, float] | None
    ledger: Ledger
    apart: tuple[Apart, ...] = ()
    by_gate: Mapping[str, tuple[list[LabelPair], list[LabelPair]]] = field(default_factory=dict)
    reach: Reach = ALIKE
    unpaired: float = 0.0

    def old_enough(self, gate: Gate) -> tuple[list[LabelPair], list[LabelPair]]:
        """The aged and the mature labels that a gate takes."""
        return self.by_gate.get(gate.name, (self.aged, self.mature))


def take_labels(ledger: Ledger, terms: Terms, known: Known, gates: Sequence[Gate] = ()) -> Taken:
    """Harm may take every slice that shows it, "no worse" mature slices of the present step alone.

    Args:
        ledger: of labels, or of values.
        terms: what the rollout is judged by.
        known: until when they are known.
        gates: those that are judged by the ledger. They wait until labels reach both arms alike and, where they mix
            answers of several classes, those of all classes.
    """
    maturity = terms.policy.labels
    past, young, ledger = ledger.take_young(known.length)
    # Copies' answers reach nobody: their slices will never have labels.
    keys = _aged(ledger, terms, known, shadow=False)
    if terms.sticky:
        # Counts by key add up over a split's whole life; another split's arms had other keys.
        keys = [key for key in keys if key[0] == known.epoch]
    fair = is_alike(ledger.coverage(keys), maturity)
    in_step = [key for key in keys if known.steps.get(key[0]) == known.step]
    coverage = ledger.coverage(in_step) if in_step else None
    complete = coverage is not None and known.lateness and is_alike(coverage, maturity)
    by_gate: dict[str, tuple[list[LabelPair], list[LabelPair]]] = {}
    # By key the arms' users differ, and so may what they label.
    asked = gates and not terms.sticky and maturity.max_coverage_gap < ANY_GAP
    arms = reach(ledger, keys, known.effect) if asked else ALIKE
    arms_here = reach(ledger, in_step, known.effect) if asked and in_step != keys else arms
    mixing = [gate for gate in gates if mixes(gate)]
    everywhere = known.answers.apart(keys, maturity, known.effect) if mixing else ()
    here = everywhere
    if mixing and in_step != keys:
        here = known.answers.apart(in_step, maturity, known.effect)
    for gate in mixing:
        harmful: list[LabelPair] = []
        mature: list[LabelPair] = []
        if fair and not misled(gate, everywhere) and not arms.blames(gate):
            harmful, ledger = ledger.take_by(f"harm {gate.name}", keys)
        if complete and not misled(gate, here) and not arms_here.flatters(gate):
            mature, ledger = ledger.take_by(f"safe {gate.name}", ledger.covered(in_step, maturity))
        by_gate[gate.name] = harmful, mature
    aged, ledger = ledger.take_aged(keys) if fair else ([], ledger)
    complete = complete and not any(arms_here.flatters(gate) for gate in gates if not mixes(gate))
    taken, ledger = ledger.take_safe(in_step, maturity) if complete else ([], ledger)
    if terms.sticky and known.asked is not None and maturity.max_coverage_gap < ANY_GAP:
        # What it says is held against what the looks show, not against what they take: they are few.
        arms_here = reach_by_key(ledger, in_step, known.asked)
    return Taken(past, young, aged, taken, coverage, ledger, here, by_gate, arms_here)


def misled(gate: Gate, apart: Sequence[Apart]) -> bool:
    """Whether the gate waits until labels reach the answers of all classes alike."""
    return any(is_misled(gate, one.name, one.moved) for one in apart)


def take_pairs(ledger: Ledger, terms: Terms, known: Known) -> Taken:
    """Labels of mirrored rows, as long as those that have come say what all of them would.

    Args:
        ledger: of mirrored rows, both arms alike.
        terms: what the rollout is judged by.
        known: until when labels are known.
    """
    margins = [gate.harm.offset for gate in terms.policy.gates if gate.metric is MetricKind.PAIRED_ACCURACY]
    of_copies = _aged(ledger, terms, known, shadow=True)
    in_step = [key for key in of_copies if known.steps.get(key[0]) == known.step]
    without = unpaired(ledger.total(in_step))
    keys = [key for key in of_copies if ledger.slices[key].test_predictions]
    coverage = ledger.coverage(keys) if keys else None
    if not (margins and known.lateness) or not is_fair(ledger.total(keys), min(margins), terms.policy.labels):
        return Taken([], [], [], [], coverage, ledger, unpaired=without)
    aged, ledger = ledger.take_aged(keys)
    mature, ledger = ledger.take_safe(in_step, terms.policy.labels)
    return Taken([], [], aged, mature, coverage, ledger, unpaired=without)


def _aged(ledger: Ledger, terms: Terms, known: Known, *, shadow: bool) -> list[SliceKey]:
    """Slices of SHADOW or of LIVE steps that are old enough."""
    keys = ledger.aged(known.begun, known.read, known.age, known.length, known.steady)
    return [key for key in keys if terms.plan.steps[known.steps[key[0]]].shadow is shadow]


def judge_labels(gates: Sequence[GateState], taken: Sequence[Taken], terms: Terms) -> list[GateState]:
    """Gates after a look's labels; one that is not judged by labels is as it was.

    Args:
        gates: before it.
        taken: of the look, for each gate.
        terms: what the rollout is judged by.
    """
    parts = [_parts(gate) for gate in gates]
    of_parts = [found for own, found in zip(parts, taken, strict=True) for _ in own]
    judged = iter(_judged([part for own in parts for part in own], of_parts, terms))
    after: list[GateState] = []
    for gate, own, found in zip(gates, parts, taken, strict=True):
        if isinstance(gate, EachClassGate):
            after.append(gate.having([next(judged) for _ in own]))
        else:
            after.append(next(judged) if own else _judged_alone(gate, found))
    return after


def _parts(gate: GateState) -> tuple[RateGate, ...]:
    """The gates on rates of labels that it is, or consists of."""
    if isinstance(gate, EachClassGate):
        return gate.parts
    return (gate,) if isinstance(gate, RateGate) and gate.gate.metric in LABEL_METRICS else ()


def _judged_alone(gate: GateState, taken: Taken) -> GateState:
    if isinstance(gate, PairedGate):
        return gate.judge_harm(taken.aged).judge_safe(taken.mature)
    if gate.gate.metric not in LABEL_METRICS:
        return gate
    if isinstance(gate, CohortGate):
        # Of all of them, since those of wrong answers may come last, harm takes aged slices alone.
        aged, mature = taken.old_enough(gate.gate)
        return gate.add(cohort_labels(aged), cohort_labels(mature))
    if isinstance(gate, DistributionGate):
        learnt = gate.learn(error_distributions(taken.past)).judge_harm(error_distributions(taken.aged))
        return learnt.judge_safe(error_distributions(taken.mature))
    return gate


def place_of(gate: RateGate, terms: Terms) -> int:
    """Where what the gate counts stands: its class among those that are watched, or the bound that is to be passed."""
    if gate.gate.metric is MetricKind.VALUE:
        return VALUE_BOUNDS.index(gate.gate.above)
    return terms.classes.index(gate.gate.positive) if gate.gate.metric in CLASS_METRICS else 0


def _judged(gates: Sequence[RateGate], taken: Sequence[Taken], terms: Terms) -> list[RateGate]:
    """Gates on rates of labels after a look's, of which each takes its own."""
    learnt: list[RateGate] = []
    harmful: list[GateRows] = []
    safe: list[GateRows] = []
    for gate, found in zip(gates, taken, strict=True):
        place = place_of(gate, terms)
        aged, mature = found.old_enough(gate.gate)
        if shows_young(gate.gate, terms.policy.labels):
            # Of recall, say, labels of few classes blur what differs, and never turn it round; of accuracy they may.
            turned = gate.gate.metric is MetricKind.ACCURACY and misled(gate.gate, found.apart)
            aged = [] if turned else found.young
        learnt.append(gate.learn(label_rows(found.past, gate.gate.metric, place)))
        harmful.append(_rows(gate.gate, aged, place))
        safe.append(_rows(gate.gate, mature, place))
    return judge_safe_each(judge_harm_each(learnt, harmful), safe)


def _rows(gate: Gate, pairs: Sequence[LabelPair], place: int) -> GateRows:
    """What a gate takes of labels."""
    rows = label_rows(pairs, gate.metric, place)
    return GateRows(rows, rows_of_class(pairs, place)) if gate.metric in CLASS_METRICS else GateRows(rows)
