"""What is known of a rollout after some of its looks."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from evaluator.evidence.alike import Alike, AlikeAnswers
from evaluator.evidence.answers import Answers, Apart
from evaluator.evidence.copies import NO_COPIES, Copies
from evaluator.evidence.inputs import Inputs, open_inputs
from evaluator.evidence.lateness import ENOUGH_LAGS, Lateness
from evaluator.evidence.ledger import Ledger
from evaluator.evidence.passing import NOT_LOOKED, Passing, most_watched
from evaluator.evidence.reach import ALIKE, Reach
from evaluator.evidence.same_inputs import SameInputs, open_same_inputs
from evaluator.evidence.settling import NO_DURATIONS, settling
from evaluator.evidence.split_check import Shares, SplitCheck
from evaluator.gates.maturity import MOST_LATE, is_misled, mixes
from evaluator.gates.opening import GateState, open_gate
from evaluator.statistics.cohorts import CohortCounts
from evaluator.terms import Terms
from evaluator.window.arms import SliceKey
from evaluator.window.counts import Counts
from evaluator.window.other_lanes import NO_OTHER_LANES, OtherLanes
from services.common.policy.metrics import LABEL_METRICS, MetricKind
from services.common.policy.records import Gate


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
        time: when it was, by the clock of the Evaluator that looked, seconds since 1970-01-01 UTC; 0: not recorded.
        elapsed: seconds that the step had run by that clock, without pauses; 0: it had not begun, or not recorded.
    """

    sequence: int
    epoch: int
    slice_seconds: float
    step: int
    judged: bool
    window: Counts
    shares: Shares = (0, 0)
    time: float = 0.0
    elapsed: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """The evidence after some looks.

    Attributes:
        terms: what it is judged by.
        sequence: the latest look; 0: none.
        first_time: when the first look read or, where there was nothing to read, was; seconds since 1970-01-01 UTC; 0:
            there was none.
        time: when the latest look read.
        passing: the looks' times, and what of the way between them was watched.
        elapsed: the latest look's.
        unlooked: seconds of it in which nobody looked; below 0 where the clocks of those who looked went back.
        behind: seconds by which the latest look's clock went back; 0: it did not.
        epoch: the latest look's epoch; -1: none.
        epoch_since: when a look first read counts in that epoch, on the steady scale; infinity: none has.
        step: the latest look's step; -1: none.
        steps: the step by epoch, the latest one where shares did not change.
        slices: the length of slices by epoch.
        gates: evidence of every gate that judges the version, in the policy's order.
        inputs: of both arms.
        ledger: labels by slice.
        values: numbers that callers reported, by slice; a row is one with a number.
        paired: labels that met both versions' answers to a mirrored row, by slice.
        labelled: answers by slice and predicted class, and those among them with labels.
        apart: classes whose answers get labels unlike all others' in the step's aged slices.
        floors_apart: the same in those of callers by segment.
        floors: labels by slice of callers in the segments that gates watch by themselves, by segment.
        lateness: how late labels come.
        late_before: labels of stable's wrong answers that were counted before the first look.
        too_late: labels of the test arm that came too late to be counted.
        judged: looks that were judged.
        step_seconds: what the present evidence of "no worse" covers: seconds of judged windows.
        judged_seconds: seconds of all judged windows of the present step, by which looks by key are due.
        coverage: share of the aged slices' predictions with labels, test and stable; None: no such slices.
        value_coverage: the same of reported values.
        paired_coverage: the same of mirrored rows.
        unpaired: of the rows that a SHADOW step mirrors, the share that has no pair in its aged slices.
        floor_coverage: the same by segment.
        reach: how labels reach both arms in the step's aged slices.
        value_reach: the same of reported values.
        floor_reach: the same of labels by segment.
        asked: by key, attempts of the present split by the slice in which they were counted.
        alike: labelled rows by their requests.
        answers: predictions by their requests, if a gate is on them.
        copies: of SHADOW steps.
        split: whether the arms get their shares.
        same_inputs: whether they get the same inputs; None: they are not compared.
        others: requests of other lanes at the processes that runtimes are compared of.
        durations: stable's attempts by duration, by which counts settle after a change of share.
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
    labelled: Answers = field(default_factory=Answers)
    apart: tuple[Apart, ...] = ()
    floors_apart: Mapping[str, tuple[Apart, ...]] = field(default_factory=dict)
    floors: Mapping[str, Ledger] = field(default_factory=dict)
    lateness: Lateness = field(default_factory=Lateness)
    late_before: int = 0
    too_late: int = 0
    judged: int = 0
    step_seconds: float = 0.0
    judged_seconds: float = 0.0
    coverage: tuple[float, float] | None = None
    value_coverage: tuple[float, float] | None = None
    paired_coverage: tuple[float, float] | None = None
    unpaired: float = 0.0
    floor_coverage: Mapping[str, tuple[float, float] | None] = field(default_factory=dict)
    reach: Reach = ALIKE
    value_reach: Reach = ALIKE
    floor_reach: Mapping[str, Reach] = field(default_factory=dict)
    asked: Mapping[SliceKey, CohortCounts] = field(default_factory=dict)
    alike: Alike = field(default_factory=Alike)
    answers: AlikeAnswers = field(default_factory=AlikeAnswers)
    copies: Copies = NO_COPIES
    split: SplitCheck = field(default_factory=SplitCheck)
    same_inputs: SameInputs | None = None
    others: OtherLanes = NO_OTHER_LANES
    passing: Passing = NOT_LOOKED
    elapsed: float = 0.0
    unlooked: float = 0.0
    behind: float = 0.0
    durations: tuple[int, ...] = NO_DURATIONS

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
    def mixes_answers(self) -> bool:
        """Whether the policy has a gate on labels that mixes answers of several classes."""
        return any(map(mixes, self.terms.policy.gates))

    def standing_out(self, gate: Gate) -> Apart | None:
        """The class that stands out by how many labels its answers get, and may mislead the gate."""
        apart = self.floors_apart.get(gate.segment, ()) if gate.segment else self.apart
        return next((one for one in apart if is_misled(gate, one.name, one.moved)), None)

    def flattered(self, gate: Gate) -> Reach | None:
        """How labels reach both arms, where that may make the version seem better to the gate than it is."""
        if gate.metric not in LABEL_METRICS:
            return None
        of_labels = self.value_reach if gate.metric is MetricKind.VALUE else self.reach
        found = self.floor_reach.get(gate.segment, ALIKE) if gate.segment else of_labels
        return found if found.flatters(gate) else None

    def blamed(self, gate: Gate) -> bool:
        """Whether labels reach both arms so that the version may seem worse to the gate than it is, by key.

        By request harm takes no such labels.
        """
        return self.terms.sticky and not gate.segment and self.reach.blames(gate)

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
        return max(maturity.min_age, self.lateness.usual) if maturity.follows_lag else maturity.min_age

    @property
    def steady(self) -> float:
        """When the latest look read, on the scale of what was watched."""
        return self.passing.of_read(self.time or self.passing.latest, self.most_watched)

    @property
    def begun(self) -> float:
        """When the first look was, by the clocks of the looks since: its own may have been ahead."""
        return self.first_time + min(self.passing.leapt, 0.0)

    @property
    def waited(self) -> float:
        """Seconds since the first look that somebody watched; 0: there was none."""
        return self.passing.now - self.first_time if self.first_time else 0.0

    @property
    def most_watched(self) -> float:
        """Seconds between two looks that pass for watched."""
        return most_watched(self.terms.policy.look_interval)

    @property
    def knows_lateness(self) -> bool:
        """Whether it is known how late labels of wrong answers come, or there was time enough to learn it.

        What has not come yet is in none of the counts: in a lane's first hours all lags that are known are short.
        """
        # Without classes no answer is right or wrong.
        if not (self.terms.policy.labels.follows_lag and self.terms.declared) or self.late_before >= ENOUGH_LAGS:
            return True
        return self.judged_seconds >= self.terms.plan.steps[max(self.step, 0)].period / 2.0

    @property
    def loses_labels(self) -> bool:
        """Whether so many labels of the test arm come too late that those which are counted may flatter it."""
        if self.too_late < ENOUGH_LAGS:
            return False
        counted = self.ledger.labels()[0] + self.values.labels()[0]
        return self.too_late > MOST_LATE * (self.too_late + counted)

    def settling(self, step: int) -> float:
        """Seconds after a change of share for which counts are recorded and not judged, in a step of the plan."""
        steps = self.terms.plan.steps
        return settling(self.terms.policy.settling, self.durations, steps[min(step, len(steps) - 1)].period)

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
        same_inputs=open_same_inputs(terms),
    )
