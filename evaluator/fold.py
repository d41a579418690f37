"""The evidence of a rollout as a pure fold over its recorded windows.

The same windows under the same terms give the same state, bit for bit, whether folded one by one as they come or all
at once after a restart.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce

from evaluator.alike import Alike
from evaluator.arms import added, input_counts
from evaluator.cohorts import CohortGate
from evaluator.copies import NO_COPIES, Copies
from evaluator.counts import Counts, read_time
from evaluator.inputs import Inputs, open_inputs
from evaluator.label_looks import Known, judge_labels, take_labels, take_pairs
from evaluator.label_rows import NO_LAGS, LabelLags, caller_slices, label_lags, slice_counts, value_slices
from evaluator.ledger import Ledger
from evaluator.maturity import usual_lag
from evaluator.opening import GateState, guarded, open_gate
from evaluator.pair_rows import pair_slices
from evaluator.split_check import Shares, SplitCheck
from evaluator.terms import Terms
from evaluator.window_looks import WindowRows, judge_window, learn_window
from services.common.policy.records import MetricKind


@dataclass(frozen=True, slots=True)
class Look:
    """One look as it is recorded.

    Attributes:
        sequence: 1 for the first, and one more for each.
        epoch: the lane's split in force.
        slice_seconds: length of the epoch's slices.
        step: the plan's step, from 0.
        judged: False: the counts are recorded only.
        window: the counts since the look before.
        shares: of the test and of the control arm in the epoch, in basis points.
    """

    sequence: int
    epoch: int
    slice_seconds: float
    step: int
    judged: bool
    window: Counts
    shares: Shares = (0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """The evidence after some looks.

    Attributes:
        terms: what it is judged by.
        sequence: the latest look; 0: none.
        first_time: when the first look read, seconds since 1970-01-01 UTC; 0: none.
        time: when the latest look read.
        epoch: the latest look's epoch; -1: none.
        epoch_since: when a look first read counts in that epoch; infinity: none has.
        step: the latest look's step; -1: none.
        steps: the step by epoch, the latest one where shares did not change.
        slices: the length of slices by epoch.
        gates: evidence of every gate that judges the version, in the policy's order.
        inputs: of both arms.
        ledger: labels by slice.
        values: numbers that callers reported, by slice; a row is one with a number.
        paired: labels that met both versions' answers to a mirrored row, by slice.
        floors: labels by slice of callers in the segments that gates watch by themselves, by segment.
        lags: labels by their lag.
        judged: looks that were judged.
        step_seconds: what the present evidence of "no worse" covers: seconds of judged windows.
        judged_seconds: seconds of all judged windows of the present step, by which looks by key are due.
        coverage: share of the aged slices' predictions with labels, test and stable; None: no such slices.
        value_coverage: the same of reported values.
        paired_coverage: the same of mirrored rows.
        floor_coverage: the same by segment.
        alike: labelled rows by their requests.
        copies: of SHADOW steps.
        split: whether the arms get their shares.
    """

    terms: Terms
    sequence: int
    first_time: float
    time: float
    epoch: int
    epoch_since: float
    step: int
    steps: Mapping[int, int]
    slices: Mapping[int, float]
    gates: tuple[GateState, ...]
    inputs: Inputs
    ledger: Ledger = field(default_factory=Ledger)
    values: Ledger = field(default_factory=Ledger)
    paired: Ledger = field(default_factory=Ledger)
    floors: Mapping[str, Ledger] = field(default_factory=dict)
    lags: LabelLags = (NO_LAGS, NO_LAGS, NO_LAGS, NO_LAGS)
    judged: int = 0
    step_seconds: float = 0.0
    judged_seconds: float = 0.0
    coverage: tuple[float, float] | None = None
    value_coverage: tuple[float, float] | None = None
    paired_coverage: tuple[float, float] | None = None
    floor_coverage: Mapping[str, tuple[float, float] | None] = field(default_factory=dict)
    alike: Alike = field(default_factory=Alike)
    copies: Copies = NO_COPIES
    split: SplitCheck = field(default_factory=SplitCheck)

    @property
    def shadowed(self) -> bool:
        """Whether the present step is a SHADOW one: the test version's answers reach nobody, and get no labels."""
        return self.step >= 0 and self.terms.plan.steps[self.step].shadow

    @property
    def watches_inputs(self) -> bool:
        """Whether the policy has a gate for input drift."""
        return any(gate.metric is MetricKind.INPUT_DRIFT for gate in self.terms.policy.gates)

    @property
    def takes_values(self) -> bool:
        """Whether the policy has a gate for reported values."""
        return any(gate.metric is MetricKind.VALUE for gate in self.terms.policy.gates)

    @property
    def takes_pairs(self) -> bool:
        """Whether the policy has a gate for labels of mirrored rows."""
        return any(gate.metric is MetricKind.PAIRED_ACCURACY for gate in self.terms.policy.gates)

    @property
    def resting(self) -> bool:
        """Whether the inputs of both arms are drifted, so that quality is not judged."""
        return self.ledger.resting

    @property
    def label_age(self) -> float:
        """Seconds after which a slice's labels may be complete: `min_age` or, by default, what labels have taken."""
        maturity = self.terms.policy.labels
        return max(maturity.min_age, *map(usual_lag, self.lags)) if maturity.follows_lag else maturity.min_age

    def slice_seconds(self, epoch: int) -> float | None:
        """Seconds that a slice of the epoch lasts; None: the epoch is none of the rollout's."""
        return self.slices.get(epoch)


def start(terms: Terms) -> State:
    """The state before the first look."""
    policy = terms.policy
    opened = [open_gate(gate, terms) for gate in policy.gates]
    return State(
        terms=terms,
        sequence=0,
        first_time=0.0,
        time=0.0,
        epoch=-1,
        epoch_since=0.0,
        step=-1,
        steps={},
        slices={},
        gates=tuple(gate for gate in opened if gate is not None),
        inputs=open_inputs(terms),
    )


def fold(state: State, look: Look) -> State:
    """The state after one more look."""
    now = max(read_time(look.window), state.time)
    after = _enter(state, look, now)
    labelled = slice_counts(look.window, state.terms)
    right, wrong, stable_right, stable_wrong = map(added, state.lags, label_lags(look.window, state.terms))
    after = replace(
        after,
        ledger=after.ledger.plus(labelled),
        floors={
            caller: after.floors.get(caller, Ledger(rests=after.ledger.rests)).plus(
                caller_slices(look.window, state.terms, caller)
            )
            for caller in state.terms.callers
        },
        alike=after.alike.plus(look.window, state.terms, labelled.values()),
        values=after.values.plus(value_slices(look.window, state.terms)) if state.takes_values else after.values,
        paired=after.paired.plus(pair_slices(look.window, state.terms)) if state.takes_pairs else after.paired,
        lags=(right, wrong, stable_right, stable_wrong),
        copies=after.copies.plus(look.window, state.terms),
        split=after.split.after(look.window, state.terms, look.epoch, look.shares),
    )
    after = _watch_inputs(after, look, state.time or now)
    if look.judged:
        after = _judge(after, look)
        passed = now - (state.time or now)
        return _reach(
            replace(
                after,
                judged=after.judged + 1,
                step_seconds=after.step_seconds + passed,
                judged_seconds=after.judged_seconds + passed,
            )
        )
    return _learn(after, look)


def fold_all(terms: Terms, looks: Iterable[Look]) -> State:
    """The state after all looks, oldest first."""
    return reduce(fold, looks, start(terms))


def _enter(state: State, look: Look, now: float) -> State:
    """Takes note of the look's time, epoch and step; a new step begins with fresh evidence of non-inferiority."""
    since = math.inf if look.epoch != state.epoch else state.epoch_since
    step = min(look.step, len(state.terms.plan.steps) - 1)
    new_step = step != state.step
    gates = state.gates
    if new_step:
        gates = tuple(guarded(gate.restart(), state.terms, step) for gate in gates)
    if look.epoch != state.epoch:
        gates = tuple(gate.enter(look.epoch) if isinstance(gate, CohortGate) else gate for gate in gates)
    return replace(
        state,
        sequence=look.sequence,
        first_time=state.first_time or now,
        time=now,
        epoch=look.epoch,
        epoch_since=now if math.isinf(since) and look.window else since,
        step=step,
        steps={**state.steps, look.epoch: step},
        slices={**state.slices, look.epoch: look.slice_seconds},
        gates=gates,
        copies=state.copies.anew() if new_step else state.copies,
        step_seconds=0.0 if new_step else state.step_seconds,
        judged_seconds=0.0 if new_step else state.judged_seconds,
    )


def _watch_inputs(state: State, look: Look, before: float) -> State:
    """Follows drift; while both arms' inputs are drifted quality rests, and afterwards "no worse" is shown anew."""
    if not state.watches_inputs:
        return state
    inputs = state.inputs.after(*input_counts(look.window, state.terms))
    was, drifted = state.inputs.drifted, inputs.drifted
    if drifted and not was:
        ledger, values, paired = (one.rest(before) for one in (state.ledger, state.values, state.paired))
        floors = {caller: one.rest(before) for caller, one in state.floors.items()}
        return replace(state, inputs=inputs, ledger=ledger, values=values, paired=paired, floors=floors)
    if was and not drifted:
        return replace(
            state,
            inputs=inputs,
            ledger=state.ledger.wake(state.time),
            values=state.values.wake(state.time),
            paired=state.paired.wake(state.time),
            floors={caller: one.wake(state.time) for caller, one in state.floors.items()},
            gates=tuple(gate.restart() for gate in state.gates),
            step_seconds=0.0,
        )
    return replace(state, inputs=inputs)


def _learn(state: State, look: Look) -> State:
    """Adds stable's counts and control's batches to the past from which bets are made."""
    rows = WindowRows(look.window, state.terms, epoch=None)
    return replace(state, gates=tuple(learn_window(gate, rows) for gate in state.gates))


def _judge(state: State, look: Look) -> State:
    rows = WindowRows(look.window, state.terms, look.epoch)
    state = _freeze_needs(state)
    judged = replace(state, gates=tuple(judge_window(gate, rows, resting=state.resting) for gate in state.gates))
    # Each process was read at a moment of its own; labels are known as far as the one that was read first.
    read = min((one.read_us for one in look.window), default=0) / 1e6 or state.time
    return judged if state.resting else _judge_labels(judged, read)


def _reach(state: State) -> State:
    """Takes the look that gates under KEY assignment are due for, if one is."""
    at = state.judged_seconds / state.terms.plan.steps[state.step].period
    return replace(state, gates=tuple(gate.reach(at) if isinstance(gate, CohortGate) else gate for gate in state.gates))


def _judge_labels(state: State, read: float) -> State:
    """Labels and reported values, each from a ledger of its own.

    Args:
        state: with the look's labels.
        read: until when labels are known, seconds since 1970-01-01 UTC.
    """
    known = Known(
        state.first_time, read, state.label_age, state.step, dict(state.steps), state.epoch, state.slice_seconds
    )
    labels, values = (take_labels(ledger, state.terms, known) for ledger in (state.ledger, state.values))
    paired = take_pairs(state.paired, state.terms, known)
    floors = {caller: take_labels(ledger, state.terms, known) for caller, ledger in state.floors.items()}
    taken = {MetricKind.VALUE: values, MetricKind.PAIRED_ACCURACY: paired}

    def judged(gate: GateState) -> GateState:
        found = floors[gate.gate.segment] if gate.gate.segment else taken.get(gate.gate.metric, labels)
        return judge_labels(gate, found, state.terms, state.alike.effect)

    return replace(
        state,
        gates=tuple(judged(gate) for gate in state.gates),
        ledger=labels.ledger,
        values=values.ledger,
        paired=paired.ledger,
        floors={caller: one.ledger for caller, one in floors.items()},
        floor_coverage={caller: one.coverage for caller, one in floors.items()},
        coverage=labels.coverage,
        value_coverage=values.coverage,
        paired_coverage=paired.coverage,
    )


def _freeze_needs(state: State) -> State:
    """Fixes how many requests each gate needs to show a harm of its safe margin, from stable's past alone."""
    step = state.terms.plan.steps[state.step]
    return replace(
        state,
        gates=tuple(
            gate.freeze(state.terms.policy.gate_alpha(gate.gate), state.terms.policy.power, step.share_bps / 10_000)
            for gate in state.gates
        ),
    )
