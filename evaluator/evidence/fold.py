"""The evidence of a rollout as a pure fold over its recorded windows.

The same windows under the same terms give the same state, bit for bit, whether folded one by one as they come or all
at once after a restart.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import reduce

from evaluator.evidence.copies import NO_COPIES
from evaluator.evidence.label_looks import Known, Taken, judge_labels, take_labels, take_pairs
from evaluator.evidence.ledger import Ledger
from evaluator.evidence.passing import leap, stands
from evaluator.evidence.reach import label_gates
from evaluator.evidence.settling import durations
from evaluator.evidence.state import Look, State, start
from evaluator.evidence.telling import told
from evaluator.evidence.window_looks import WindowRows, judge_window, learn_window
from evaluator.gates.cohorts import CohortGate
from evaluator.gates.opening import GateState, guarded
from evaluator.statistics.cohorts import CohortCounts
from evaluator.terms import Terms
from evaluator.window.arm_counts import ArmCounts
from evaluator.window.arms import SliceKey, added
from evaluator.window.cohort_rows import cohort_attempts
from evaluator.window.counts import read_time
from evaluator.window.input_rows import input_rows
from evaluator.window.label_rows import caller_slices, late_labels, slice_counts, value_slices
from evaluator.window.pair_rows import pair_slices
from services.common.policy.metrics import MetricKind


def fold(state: State, look: Look) -> State:
    """The state after one more look."""
    now = _read(state, look)
    after = _enter(state, look, now)
    # What has come since the look before was predicted after it, whatever the Worker's clock said.
    since = state.steady if state.time else -math.inf
    counted = ArmCounts(look.window, state.terms)
    labelled = slice_counts(counted)
    judged = look.epoch if look.judged else None
    lateness = state.lateness.plus(counted)
    after = replace(
        after,
        ledger=after.ledger.plus(labelled, since),
        floors={
            caller: after.floors.get(caller, Ledger()).plus(caller_slices(counted, caller), since)
            for caller in state.terms.callers
        },
        asked=_asked(state, look, counted, now) if state.terms.sticky else state.asked,
        alike=after.alike.plus(counted, labelled.values()),
        answers=after.answers.plus(counted) if state.terms.balances else after.answers,
        labelled=after.labelled.plus(counted) if state.mixes_answers else after.labelled,
        values=after.values.plus(value_slices(counted), since) if state.takes_values else after.values,
        paired=after.paired.plus(pair_slices(counted), since) if state.takes_pairs else after.paired,
        lateness=lateness,
        too_late=after.too_late + late_labels(counted),
        late_before=after.late_before if state.sequence else lateness.wrong(test=False),
        copies=after.copies.plus(counted),
        durations=added(after.durations, durations(counted)),
        others=after.others.plus(counted) if state.terms.compares_runtimes else after.others,
        split=after.split.after(counted, look.epoch, look.shares),
        same_inputs=after.same_inputs and after.same_inputs.after(counted, judged),
    )
    after = _watch_inputs(after, counted, state.time or now)
    if look.judged:
        after = _judge(after, look, counted)
        passed = max(after.steady - state.steady, 0.0) if state.time else 0.0
        return _reach(
            replace(
                after,
                judged=after.judged + 1,
                step_seconds=after.step_seconds + passed,
                judged_seconds=after.judged_seconds + passed,
            )
        )
    return _learn(after, counted)


def _asked(state: State, look: Look, counted: ArmCounts, now: float) -> dict[SliceKey, CohortCounts]:
    """Attempts by key of the split in force, by the slice that the middle of each window was in."""
    asked = dict(state.asked) if look.epoch == state.epoch else {}
    if look.slice_seconds <= 0.0:
        return asked
    key = look.epoch, math.floor(((state.time or now) + now) / 2.0 / look.slice_seconds)
    seen = cohort_attempts(counted, look.epoch)
    asked[key] = asked[key].plus(seen) if key in asked else seen
    return asked


def fold_all(terms: Terms, looks: Iterable[Look]) -> State:
    """The state after all looks, oldest first."""
    return reduce(fold, looks, start(terms))


def _read(state: State, look: Look) -> float:
    """When the look read. One that could not read all processes turns no time back; a clock that was set back does."""
    read = read_time(look.window)
    return state.time if not read or stands(read, state.time, state.most_watched) else read


def _enter(state: State, look: Look, now: float) -> State:
    """Takes note of the look's time, epoch and step; a new step begins with fresh evidence of non-inferiority."""
    since = math.inf if look.epoch != state.epoch else state.epoch_since
    step = min(look.step, len(state.terms.plan.steps) - 1)
    new_step = step != state.step
    gates = state.gates
    if new_step:
        gates = tuple(guarded(gate.restart(), state.terms, step) for gate in gates)
    unlooked, behind = _unlooked(state, look, new_step=new_step)
    # By what it read only where it does not say when it was: Prometheus may be asked more often than it scrapes.
    passing = state.passing.to(look.time or read_time(look.window), state.most_watched)
    if look.epoch != state.epoch:
        gates = tuple(gate.enter(look.epoch) if isinstance(gate, CohortGate) else gate for gate in gates)
    return replace(
        state,
        sequence=look.sequence,
        # Where no process can be read a version is waited for all the same.
        first_time=state.first_time or now or look.time,
        time=now,
        passing=passing,
        elapsed=look.elapsed,
        unlooked=unlooked,
        behind=behind,
        epoch=look.epoch,
        epoch_since=passing.of_read(now, state.most_watched) if math.isinf(since) and look.window else since,
        step=step,
        steps={**state.steps, look.epoch: step},
        slices={**state.slices, look.epoch: look.slice_seconds},
        gates=gates,
        copies=state.copies.anew() if new_step else state.copies,
        step_seconds=0.0 if new_step else state.step_seconds,
        judged_seconds=0.0 if new_step else state.judged_seconds,
    )


def _unlooked(state: State, look: Look, *, new_step: bool) -> tuple[float, float]:
    """Seconds of the step's in which nobody looked, with those since the look before, and how far that one went back.

    By how far the step's own time moved on from look to look: that leaves pauses out, and a clock that differs from the
    Registry's or from another Evaluator's passes for time in which nobody looked, and never for time that was watched.
    """
    before, sofar, behind = (0.0, 0.0, 0.0) if new_step else (state.elapsed, state.unlooked, state.behind)
    leapt, behind = leap(look.elapsed - before, behind, state.most_watched)
    return sofar + leapt, behind


def _watch_inputs(state: State, counted: ArmCounts, before: float) -> State:
    """Follows drift; while both arms' inputs are drifted quality rests, and afterwards "no worse" is shown anew."""
    if not state.watches_inputs:
        return state
    inputs = state.inputs.after(*input_rows(counted))
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


def _learn(state: State, counted: ArmCounts) -> State:
    """Adds stable's counts and control's batches to the past from which bets are made."""
    rows = WindowRows(counted, epoch=None)
    return replace(state, gates=tuple(learn_window(gate, rows) for gate in state.gates))


def _judge(state: State, look: Look, counted: ArmCounts) -> State:
    rows = WindowRows(counted, look.epoch)
    # By what the rows of one request say, what a gate needs is fixed too.
    effect = state.alike.effect
    informed = _freeze_needs(state, [told(gate, effect, state.answers, state.copies) for gate in state.gates])
    resting, apart = state.resting, state.others.apart
    copies = state.copies if state.shadowed else NO_COPIES
    judged = judge_window(informed, rows, resting=resting, apart=apart, copies=copies)
    # Each process was read at a moment of its own; labels are known as far as the one that was read first.
    read = min((one.read_us for one in look.window), default=0) / 1e6 or state.time
    return replace(state, gates=tuple(judged)) if resting else _judge_labels(state, judged, read)


def _reach(state: State) -> State:
    """Takes the look that gates under KEY assignment are due for, if one is."""
    if not state.terms.sticky:
        return state
    at = state.judged_seconds / state.terms.plan.steps[state.step].period
    return replace(state, gates=tuple(gate.reach(at) if isinstance(gate, CohortGate) else gate for gate in state.gates))


def _judge_labels(state: State, gates: Sequence[GateState], read: float) -> State:
    """Labels and reported values, each from a ledger of its own.

    Args:
        state: with the look's labels.
        gates: after the look's window.
        read: until when labels are known, seconds since 1970-01-01 UTC.
    """
    known = Known(
        begun=state.begun,
        read=read,
        steady=state.steady - max(state.time - read, 0.0),
        age=state.label_age,
        step=state.step,
        steps=dict(state.steps),
        epoch=state.epoch,
        length=state.slice_seconds,
        lateness=state.knows_lateness and not state.loses_labels,
        answers=state.labelled,
        effect=state.alike.together,
        asked=state.asked if state.terms.sticky else None,
    )
    gates_of = state.terms.policy.gates
    labels = take_labels(state.ledger, state.terms, known, label_gates(gates_of))
    # A number that is reported is neither right nor wrong, and none is late for being so.
    # By key a version may well make its users report more often.
    numbers = known._replace(lateness=not state.loses_labels, asked=None)
    values = take_labels(state.values, state.terms, numbers, label_gates(gates_of, values=True))
    paired = take_pairs(state.paired, state.terms, known)
    floors = {
        caller: take_labels(ledger, state.terms, known, label_gates(gates_of, caller))
        for caller, ledger in state.floors.items()
    }
    taken = {MetricKind.VALUE: values, MetricKind.PAIRED_ACCURACY: paired}

    def of(gate: GateState) -> Taken:
        return floors[gate.gate.segment] if gate.gate.segment else taken.get(gate.gate.metric, labels)

    return replace(
        state,
        gates=tuple(judge_labels(gates, [of(gate) for gate in gates], state.terms)),
        ledger=labels.ledger,
        values=values.ledger,
        paired=paired.ledger,
        floors={caller: one.ledger for caller, one in floors.items()},
        floor_coverage={caller: one.coverage for caller, one in floors.items()},
        coverage=labels.coverage,
        apart=labels.apart,
        floors_apart={caller: one.apart for caller, one in floors.items()},
        value_coverage=values.coverage,
        paired_coverage=paired.coverage,
        unpaired=paired.unpaired,
        reach=labels.reach,
        value_reach=values.reach,
        floor_reach={caller: one.reach for caller, one in floors.items()},
    )


def _freeze_needs(state: State, gates: Iterable[GateState]) -> list[GateState]:
    """Fixes how many requests each gate needs to show a harm of its safe margin, from stable's past alone."""
    policy, share = state.terms.policy, state.terms.plan.steps[state.step].share_bps / 10_000
    return [gate.freeze(policy.gate_alpha(gate.gate), policy.power, share) for gate in gates]
