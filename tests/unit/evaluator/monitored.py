"""A lane without a rollout, under traffic, that is looked at."""

from dataclasses import dataclass, field

import numpy as np

from evaluator.monitor import checkpoint, report
from evaluator.monitor.watch import Watch, after, open_watch
from evaluator.terms import Terms
from evaluator.window.counts import Counts
from evaluator.window.windows import take
from services.common.policy.defaults import complete_plan, complete_policy
from services.common.policy.drafts import PlanDraft, PolicyDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Meaning
from tests.fakes.inputs import reference
from tests.fakes.metrics import CLASSES, Fleet
from tests.fakes.rollouts import demo_terms

LOOK = 30.0
LEARN = 1_200.0


def monitor_terms(positive: str = "") -> Terms:
    """v1 of the model digits, by itself."""
    policy, _ = complete_policy(PolicyDraft(), Meaning("classification", CLASSES, positive))
    plan, _ = complete_plan(PlanDraft())
    profile = reference("p1", 2)
    return Terms("digits", "", "v1", "", policy, plan, test_profile=profile, declared=CLASSES)


@dataclass
class Lane:
    """A lane under traffic, looked at every half minute.

    Attributes:
        kept: another Evaluator goes on with what was kept, after every tenth look.
    """

    seed: int = 1
    terms: Terms = field(default_factory=monitor_terms)
    fleet: Fleet = field(init=False)
    watch: Watch = field(init=False)
    cursor: Counts = ()
    told: list[str] = field(default_factory=list)
    kept: bool = False

    def __post_init__(self) -> None:
        self.fleet = Fleet(demo_terms(), np.random.default_rng(self.seed), rate=40.0, lag=5.0)
        self.watch = open_watch(self.terms, LEARN)
        self._take(first=True)

    def _take(self, *, first: bool) -> Counts:
        readings = [one.read(self.fleet.now, self.terms) for one in self.fleet.instances]
        taken = take(self.cursor, readings, first=first)
        self.cursor = taken.cursor
        return taken.window

    def run(self, seconds: float) -> None:
        """Lets traffic flow and looks at it; notes each change of what stands out."""
        for look in range(round(seconds / LOOK)):
            self.fleet.run(LOOK)
            window = self._take(first=False)
            self.watch = after(self.watch, window, self.fleet.epoch, self.fleet.slice_seconds)
            if self.kept and look % 10 == 9:
                self.watch = checkpoint.load(checkpoint.dump(self.watch), self.terms, LEARN)
            assert report.decision(self.watch).reason
            standing = sorted(alert.gate for alert in report.alerts(self.watch))
            if not self.told or self.told[-1] != ",".join(standing):
                self.told.append(",".join(standing))


def learnt(seed: int = 1, **changes: object) -> Lane:
    """A lane whose past is known."""
    lane = Lane(seed)
    for name, value in changes.items():
        setattr(lane.fleet, name, value)
    lane.run(2 * LEARN)
    assert lane.told == [""]
    assert {one.metric for one in lane.watch.watched} == {
        MetricKind.ERRORS,
        MetricKind.RUNTIME,
        MetricKind.ACCURACY,
    }
    assert lane.watch.outputs is not None
    return lane


def regression_lane(seed: int = 1) -> Lane:
    """A lane whose labels are numbers."""
    policy, _ = complete_policy(PolicyDraft(), Meaning("regression"))
    plan, _ = complete_plan(PlanDraft())
    lane = Lane(seed, Terms("digits", "", "v1", "", policy, plan), kept=True)
    lane.fleet.regression = True
    return lane
