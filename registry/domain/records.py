"""What the Registry keeps, as plain values."""

from dataclasses import dataclass
from enum import StrEnum

from registry.domain.states import RolloutState, VersionState


class Objective(StrEnum):
    """What the test version must show."""

    NON_INFERIOR = "NON_INFERIOR"
    SUPERIOR = "SUPERIOR"


class Assignment(StrEnum):
    """How requests are given to the arms."""

    REQUEST = "REQUEST"
    KEY = "KEY"


class PauseReason(StrEnum):
    """Why a rollout is paused."""

    PERSON = "PERSON"
    INPUT_DRIFT = "INPUT_DRIFT"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output.

    Attributes:
        name: unique among the inputs or among the outputs.
        datatype: in the words of the Open Inference Protocol.
        shape: dimensions, the batch first; -1 is any length.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """What callers may send and what they get.

    Of a version that answers in parts, `parts` names the outputs that each holds, and `state` the inputs that are its
    own affair.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    task: str
    classes: tuple[str, ...]
    positive_class: str
    parts: tuple[str, ...] = ()
    state: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Artifact:
    """Where a version's files lie, and the digest that fixes them."""

    uri: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Model:
    """What clients name in Predict.

    Attributes:
        created: seconds since 1970, as every time here.
        next_version: number of the next version that gets its id from the Registry, and the order of publication.
        next_rollout: number of the next rollout.
        event_sequence: number of the latest event.
        event_hash: its hash; empty: no event yet.
        etag: changes with every change of the model or its lanes.
        compacted_sequence: number of the latest event that is no longer kept; 0: all are.
        compacted_hash: its hash, from which the chain goes on.
    """

    model: str
    description: str
    created: float
    next_version: int
    next_rollout: int
    event_sequence: int
    event_hash: str
    etag: str
    compacted_sequence: int = 0
    compacted_hash: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """One immutable artifact of a model.

    Attributes:
        number: the order of publication within the model, from 1.
    """

    model: str
    version: str
    number: int
    artifact: Artifact
    signature: Signature
    description: str
    created: float
    creator: str


@dataclass(frozen=True, slots=True)
class VersionInLane:
    """A version's state in one lane, since when."""

    version: str
    state: VersionState
    since: float


@dataclass(frozen=True, slots=True)
class Step:
    """One stretch of a rollout with one share.

    Attributes:
        share_bps: the share wanted for the test version, in basis points.
        min_seconds: it lasts at least this long.
        period_seconds: it is decided at its end.
        shadow: the test version gets a copy of its share of the requests, and its answers are discarded.
    """

    share_bps: int
    min_seconds: float
    period_seconds: float
    shadow: bool = False

    def words(self, version: str) -> str:
        """What the version gets: `v2 gets 5 %`."""
        return f"{version} gets {'a copy of ' if self.shadow else ''}{percent(self.share_bps)}"


@dataclass(frozen=True, slots=True)
class Spec:
    """How a rollout is to be done.

    Attributes:
        policy: a serialized crossfade.common.v1.Policy, which the Registry keeps and does not read.
        allow_incompatible: callers of the stable version are prepared for another signature.
        approval_required: a person must agree before the version is promoted.
        watched: segments of callers that gates of the policy watch by themselves.
    """

    plan: tuple[Step, ...]
    policy: bytes
    objective: Objective
    assignment: Assignment
    allow_incompatible: bool = False
    approval_required: bool = False
    watched: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """Why something was done, and on what evidence.

    Attributes:
        reason: one sentence.
        code: UPPER_SNAKE.
        gate: the deciding gate; empty: none.
        summary: a serialized crossfade.common.v1.Summary, kept and not read; empty: none.
        trace_ids: a few traces, hex.
        actor: who did it.
        analysis_sequence: the deciding look; 0: none.
    """

    reason: str
    code: str = ""
    gate: str = ""
    summary: bytes = b""
    trace_ids: tuple[str, ...] = ()
    actor: str = ""
    analysis_sequence: int = 0


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's agreement to a promotion: who, when (seconds since 1970), and why in one sentence."""

    actor: str
    time: float
    reason: str


@dataclass(frozen=True, slots=True)
class Undo:
    """How a lane is to go back to an earlier version.

    Attributes:
        version: the one to be stable again; empty: the one before the present one.
        reason: one sentence.
        bad: the present one has failed for ever; otherwise it is DEPRECATED.
        cancel_rollout: a live rollout is cancelled first.
        force: although too few Workers have the version ready.
    """

    version: str
    reason: str
    bad: bool
    cancel_rollout: bool
    force: bool


@dataclass(frozen=True, slots=True)
class Rollout:
    """One trial of one version in one lane.

    Attributes:
        number: within the model, from 1.
        stable_version: what it is compared with; fixed when RUNNING begins.
        step: the step in force, from 0.
        step_started: when it began; None before RUNNING.
        step_paused: seconds that the plan's clock has stood during this step, without a pause that lasts still.
        paused: when the present pause began; None: not paused.
        bucket_offset: first bucket of the test version's range.
        effective_share_bps: the share in force.
        analysis_sequence: number of the latest recorded look.
        approval: who agreed to its promotion; None: nobody yet.
        note: one sentence for people.
        etag: changes with each of its transitions.
    """

    model: str
    number: int
    segment: str
    version: str
    stable_version: str
    state: RolloutState
    spec: Spec
    created: float
    creator: str
    note: str
    etag: str
    step: int = 0
    step_started: float | None = None
    step_paused: float = 0.0
    paused: float | None = None
    pause_reason: PauseReason | None = None
    bucket_offset: int = 0
    effective_share_bps: int = 0
    analysis_sequence: int = 0
    started: float | None = None
    ended: float | None = None
    outcome: Outcome | None = None
    approval: Approval | None = None

    @property
    def title(self) -> str:
        """What messages call it."""
        return rollout_title(self.number, self.version)

    @property
    def approval_missing(self) -> bool:
        """Whether a person is to agree to its promotion, and nobody has yet."""
        return self.spec.approval_required and self.approval is None

    @property
    def share_bps(self) -> int:
        """The share that the step in force wants."""
        return self.now.share_bps

    @property
    def now(self) -> Step:
        """The step in force."""
        return self.spec.plan[self.step]


def rollout_title(number: int, version: str) -> str:
    """What messages call a rollout."""
    return f"rollout {number} ({version})"


def percent(share_bps: int) -> str:
    """A share for people: 500 is `5 %`, 250 is `2.5 %`."""
    return f"{share_bps / 100:g} %"
