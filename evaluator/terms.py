"""What a rollout is judged by, fixed while it runs: versions, policy, plan, profiles; and the hash that names it."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Final

from services.common.policy.metrics import CLASS_METRICS, EACH_CLASS, MetricKind
from services.common.policy.records import Objective, Plan, Policy
from services.common.telemetry.catalog import BALANCED_CLASSES

STATISTICS_VERSION: Final = 11
"""Goes up whenever the same windows under the same policy could give another log e."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature's name and the share of the reference's rows in each of its bins."""

    name: str
    proportions: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """A version's reference profile.

    Attributes:
        profile_id: the value of `profile` in crossfade.lane.input.count.
        rows: rows of the reference.
        features: those that drift can be seen in: of two bins or more.
    """

    profile_id: str
    rows: int
    features: tuple[Feature, ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a rollout is judged by.

    Attributes:
        model: the model's id.
        segment: the lane's segment.
        test: the test version's id.
        stable: the stable version's id.
        policy: gates, margins, errors.
        plan: the steps.
        sticky: requests are assigned by key, so that only gates that count by cohorts of keys are judged.
        test_profile: what the test arm's inputs are compared with; None: nothing.
        stable_profile: what the stable arm's inputs are compared with; None: nothing.
        declared: the classes of the test version.
    """

    model: str
    segment: str
    test: str
    stable: str
    policy: Policy
    plan: Plan
    sticky: bool = False
    test_profile: Profile | None = None
    stable_profile: Profile | None = None
    declared: tuple[str, ...] = ()

    @property
    def superior(self) -> bool:
        """Whether the test version must be better than stable: an A/B test."""
        return self.policy.objective is Objective.SUPERIOR

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes whose labels are counted, since a gate watches them."""
        watched = {gate.positive for gate in self.policy.gates if gate.metric in CLASS_METRICS}
        return self.declared if EACH_CLASS in watched else tuple(sorted(watched))

    @property
    def balances(self) -> bool:
        """Whether the classes of all predictions are judged, or how alike those of a request are is asked for.

        By a gate, or of a lane that is watched. Of mirrored rows a gate asks, of as many classes as are judged.
        """
        asked = {gate.metric for gate in self.policy.gates}
        few = len(self.declared) <= BALANCED_CLASSES
        return not self.stable or MetricKind.CLASS_BALANCE in asked or (few and MetricKind.DISAGREEMENT in asked)

    @property
    def compares_runtimes(self) -> bool:
        """Whether a gate compares the batches of the version's process with those of stable's control process."""
        if self.sticky or self.stable in ("", self.test):
            return False
        return any(gate.metric is MetricKind.RUNTIME and gate.limit is None for gate in self.policy.gates)

    @property
    def compares_inputs(self) -> bool:
        """Whether the inputs of both arms are counted by one profile, and each request is drawn by itself.

        By key all requests of one user are in one arm, and one arm's inputs are others than the other's.
        """
        if self.sticky or self.stable in ("", self.test):
            return False
        return self.stable_profile is not None and bool(self.stable_profile.features)

    @property
    def callers(self) -> tuple[str, ...]:
        """The segments of callers that gates watch by themselves."""
        return tuple(sorted({gate.segment for gate in self.policy.gates if gate.segment}))

    def policy_hash(self) -> str:
        """Hex SHA-256 over the policy, the plan, the profiles and the statistics' version."""
        parts = asdict(self)
        canonical = json.dumps([STATISTICS_VERSION, parts], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()
