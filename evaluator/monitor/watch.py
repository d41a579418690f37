"""A lane under watch: the evidence as a pure function of the looks.

First a version's past is learnt: for a while, and for each metric until there is enough of it. From then on each metric
is held against what that past allows; and inputs against the reference profile from the first look on.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from evaluator.evidence.alike import Alike, answers_of
from evaluator.evidence.inputs import ALPHA, ArmInputs
from evaluator.evidence.lateness import Lateness
from evaluator.evidence.ledger import Ledger
from evaluator.monitor.outputs import answers_profile, answers_tolerances
from evaluator.monitor.past import ENOUGH, Past
from evaluator.monitor.peaks import Key, Peak, moments_of, peaks_after
from evaluator.monitor.recent import recent
from evaluator.monitor.swings import ENOUGH_ROWS, Swings, stretch_of
from evaluator.monitor.values import binned, up_to, values_profile, values_tolerance
from evaluator.monitor.watched import Watched
from evaluator.statistics.process import look_cap
from evaluator.terms import Profile, Terms
from evaluator.window.arm_counts import ArmCounts
from evaluator.window.arm_rows import class_rows, error_rows, runtime_rows
from evaluator.window.arms import RuntimeRow
from evaluator.window.counts import Counts, read_time
from evaluator.window.input_rows import BinRows, input_rows
from evaluator.window.label_rows import reported, slice_counts
from evaluator.window.labels import Labels, RateRow
from services.common.kept_slices import MOST_SLICES
from services.common.policy.metrics import LABEL_METRICS, MetricKind
from services.common.telemetry import catalog

_CAP: Final = look_cap(ALPHA)
"""Three looks have to agree on a drift, so that no batch job raises an alert."""
INPUTS: Final = "inputs"


@dataclass(frozen=True, slots=True, eq=False)
class Watch:
    """What is known of a lane's stable version.

    Attributes:
        terms: whose metrics; the version stands as the one under test, and there is none that it is compared with.
        learn: seconds for which its past is learnt.
        since: when the first look read, seconds since 1970-01-01 UTC; 0: none has.
        time: when the latest look read.
        leapt: seconds since the first look in which nobody looked; below 0 where clocks were set back.
        slices: length of the slices by epoch, in seconds: of those that the ledger has, and of the one in force.
        ledger: labels by slice.
        lateness: how late labels come.
        alike: labelled rows by their requests.
        past: what was counted while it was learnt.
        watched: the metrics that are held against it, as far as it is known.
        inputs: against the reference profile; None: it has none.
        outputs: shares of the classes against the past's; None: not yet, or it has no classes.
        swings: how far shares of classes swung while the past was learnt.
        value_swings: how far shares of these numbers did.
        peaks: how bad what is judged by a rate or a mean was at its worst meanwhile.
        values: numbers that callers report against the past's; None: not yet, or they report none.
    """

    terms: Terms
    learn: float
    since: float = 0.0
    time: float = 0.0
    leapt: float = 0.0
    slices: Mapping[int, float] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    lateness: Lateness = field(default_factory=Lateness)
    alike: Alike = field(default_factory=Alike)
    past: Past = field(default_factory=Past)
    watched: tuple[Watched, ...] = ()
    inputs: ArmInputs | None = None
    outputs: ArmInputs | None = None
    values: ArmInputs | None = None
    swings: Swings = field(default_factory=Swings)
    value_swings: Swings = field(default_factory=Swings)
    peaks: Mapping[Key, Peak] = field(default_factory=dict)

    @property
    def steady(self) -> float:
        """When the latest look read, on the scale of what was watched."""
        return self.time - self.leapt

    @property
    def learning(self) -> bool:
        """Whether the past is still learnt."""
        return not self.since or self.steady - self.since < self.learn

    @property
    def unwatched_sizes(self) -> list[int]:
        """Batch sizes that are not held against a past yet."""
        have = {one.size for one in self.watched}
        return sorted(size for size in self.past.batches if size not in have)

    def learns_size(self, size: int) -> bool:
        """Whether the past of a batch size is still learnt, for as long as all else was from when it was first seen."""
        return self.steady - self.past.begun[size] < self.learn

    @property
    def resting(self) -> bool:
        """Whether the inputs are drifted, so that what the answers say is not judged."""
        return self.inputs is not None and self.inputs.test.drifted

    @property
    def unwatched(self) -> tuple[MetricKind, ...]:
        """What is to be watched and not held against a past yet, in the policy's order."""
        have = {one.metric for one in self.watched}
        wanted = (gate.metric for gate in self.terms.policy.gates if gate.metric in ENOUGH)
        return tuple(metric for metric in wanted if metric not in have)

    @property
    def waiting_slices(self) -> int:
        """Slices that wait for their labels, and sixteen beyond these."""
        shortest = min(self.slices.values(), default=0.0)
        waiting = math.ceil(self.label_age / shortest) if shortest > 0 else 0
        return min(catalog.KEPT_SLICES + waiting, MOST_SLICES)

    @property
    def label_age(self) -> float:
        """Seconds after which a slice's labels may be complete."""
        return max(self.terms.policy.labels.min_age, self.lateness.usual)


def open_watch(terms: Terms, learn: float) -> Watch:
    """A watch before its first look."""
    profile = terms.test_profile
    has_inputs = profile is not None and profile.features
    inputs = ArmInputs.open(profile, terms.policy.drift_margin) if profile is not None and has_inputs else None
    return Watch(terms, learn, inputs=inputs)


def after(watch: Watch, window: Counts, epoch: int, slice_seconds: float) -> Watch:
    """The watch after one look.

    Args:
        watch: before it.
        window: counts since the look before.
        epoch: the lane's split in force.
        slice_seconds: length of its slices.
    """
    counted, now, before = ArmCounts(window, watch.terms), read_time(window) or watch.time, watch.steady
    watch = replace(
        watch,
        since=watch.since or now,
        time=now,
        leapt=watch.leapt + min(now - watch.time, 0.0) if watch.time else 0.0,
        slices={**watch.slices, epoch: slice_seconds},
        lateness=watch.lateness.plus(counted),
    )
    labelled = slice_counts(counted)
    ledger = recent(watch.ledger.plus(labelled, before), watch.waiting_slices)
    # A version that stays stable sees epochs without end: each rollout beside it that comes to nothing leaves one.
    epochs = {epoch, *(key[0] for key in ledger.slices)}
    slices = {one: seconds for one, seconds in watch.slices.items() if one in epochs}
    watch = replace(watch, slices=slices, ledger=ledger, alike=watch.alike.plus(counted, labelled.values()))
    if watch.inputs is not None:
        watch = replace(watch, inputs=watch.inputs.after(input_rows(counted)[0], _CAP))
    begun = watch.since + min(watch.leapt, 0.0)
    keys = watch.ledger.aged(begun, now, watch.label_age, watch.slices.get, watch.steady)
    taken, ledger = watch.ledger.take_aged(keys)
    watch = replace(watch, ledger=ledger)
    errors, batches = error_rows(counted, epoch), runtime_rows(counted)
    labels = [test for test, _ in taken]
    answers, values = _answers(counted, epoch), reported(counted)
    if watch.resting:
        labels, answers, values = [], dict.fromkeys(answers, 0), ()
    watch = _judged(watch, errors, batches, labels)
    if watch.outputs is not None and any(answers.values()):
        rows = _against_others(watch.outputs.profile, counted, answers)
        watch = replace(watch, outputs=watch.outputs.after(rows, _CAP))
    if watch.values is not None and values:
        bins = [int(count) for count in binned(values, watch.past.values)]
        effects = np.array([watch.alike.effect])
        watch = replace(watch, values=watch.values.after(BinRows([bins]), _CAP, effects))
    together = 0 if watch.outputs is not None or watch.resting else int(sum(answers_of(counted)[0].every))
    return _drawn(_learnt(watch, errors, batches, labels, answers, values, together))


def missed(watch: Watch, now: float) -> Watch:
    """The watch when nobody looked for a while, or a clock was set: what lies before `now` is no time of its own."""
    return replace(watch, time=now, leapt=watch.leapt + now - watch.time) if watch.time else watch


def _judged(
    watch: Watch,
    errors: list[RateRow],
    batches: list[RuntimeRow],
    labels: list[Labels],
) -> Watch:
    watched = []
    for one in watch.watched:
        if one.metric is MetricKind.RUNTIME:
            watched.append(one.after_batches(batches))
        elif one.metric is MetricKind.ERRORS:
            watched.append(one.after_rates(errors))
        elif one.metric is MetricKind.ABSOLUTE_ERROR:
            beyond = [(sum(each.errors), sum(each.errors[one.past.cut + 1 :])) for each in labels]
            watched.append(one.after_rates([(*row, 0, 0) for row in beyond], watch.alike.effect))
        else:
            bad = [each.bad(one.metric, 0) for each in labels]
            watched.append(one.after_rates([(counts.n, counts.x, 0, 0) for counts in bad], watch.alike.effect))
    return replace(watch, watched=tuple(watched))


def _learnt(
    watch: Watch,
    errors: list[RateRow],
    batches: list[RuntimeRow],
    labels: list[Labels],
    answers: dict[str, int],
    values: tuple[int, ...],
    together: int,
) -> Watch:
    """The watch with what its past is like, and how far that swings.

    What the judged metrics have counted is no past of theirs; of the others the past goes on until it is enough.
    """
    known, sizes = {one.metric for one in watch.watched}, {one.size for one in watch.watched}
    errors = [] if MetricKind.ERRORS in known else errors
    batches = [row for row in batches if row[0] not in sizes]
    labels = [] if known & LABEL_METRICS else labels
    answers = {} if watch.outputs is not None else answers
    values = () if watch.values is not None else values
    steady, stretch, alike = watch.steady, stretch_of(watch.learn), watch.alike.careful
    asked = [gate.metric for gate in watch.terms.policy.gates if gate.metric in ENOUGH]
    swings, value_swings = watch.swings, watch.value_swings
    return replace(
        watch,
        past=watch.past.plus(errors, batches, labels, answers, values, together, steady),
        swings=swings.plus(answers, sum(answers.values()), together, steady, stretch) if answers else swings,
        value_swings=value_swings.plus(up_to(values), sum(values), 0, steady, stretch) if values else value_swings,
        peaks=peaks_after(watch.peaks, moments_of(asked, errors, batches, labels), steady, stretch, alike),
    )


def _against_others(profile: Profile, counted: ArmCounts, answers: Mapping[str, int]) -> BinRows:
    """Predicted rows of each class against those of all others, in two bins, and by their requests."""
    seen, names = answers_of(counted)[0], [feature.name for feature in profile.features]
    own, every = (dict(zip(counted.terms.declared, map(int, sums), strict=False)) for sums in (seen.own, seen.every))
    rows, together = sum(answers.values()), int(sum(seen.every))
    return BinRows(
        [[answers.get(name, 0), rows - answers.get(name, 0)] for name in names],
        [[own.get(name, 0), together] for name in names],
        [[every.get(name, 0), together] for name in names],
    )


def _drawn(watch: Watch) -> Watch:
    """The watch with what its past allows, where that is known by now."""
    if watch.learning:
        return watch
    unwatched = watch.unwatched
    more = []
    for gate in watch.terms.policy.gates:
        alpha = watch.terms.policy.gate_alpha(gate)
        peak = watch.peaks.get((gate.metric, 0), Peak()).usual
        known = watch.past.known(gate.metric, watch.alike.careful, peak) if gate.metric in unwatched else None
        if known is not None:
            more.append(Watched.open(gate.metric, alpha, known))
        for size in watch.unwatched_sizes if gate.metric is MetricKind.RUNTIME else ():
            peak = watch.peaks.get((gate.metric, size), Peak()).usual
            known = None if watch.learns_size(size) else watch.past.known_runtime(size, peak)
            if known is not None:
                more.append(Watched.open(gate.metric, alpha, known, size))
    outputs = watch.outputs
    answers = watch.past.answers
    if outputs is None and len(answers) > 1 and any(answers.values()):
        profile = answers_profile(answers, watch.past.together)
        if profile.rows >= ENOUGH_ROWS:
            outputs = ArmInputs.open(profile, answers_tolerances(answers, watch.swings))
    values = watch.values
    if values is None and sum(watch.past.values) >= ENOUGH_ROWS:
        profile = values_profile(watch.past.values)
        if len(profile.features[0].proportions) > 1:
            values = ArmInputs.open(profile, values_tolerance(watch.past.values, watch.value_swings))
    return replace(watch, watched=(*watch.watched, *more), outputs=outputs, values=values)


def _answers(counted: ArmCounts, epoch: int) -> dict[str, int]:
    """Predicted rows by class."""
    total = [0] * len(counted.terms.declared)
    for test, _ in class_rows(counted, epoch):
        total = [one + other for one, other in zip(total, test, strict=True)]
    return dict(zip(counted.terms.declared, total, strict=True))
