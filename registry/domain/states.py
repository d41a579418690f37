"""The state machine: every legal transition of a rollout and of a version in a lane; anything else is refused."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from services.common.errors import FailedPreconditionError


class RolloutState(StrEnum):
    """States of a rollout."""

    QUEUED = "QUEUED"
    WAITING_READY = "WAITING_READY"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    PROMOTED = "PROMOTED"
    ROLLED_BACK = "ROLLED_BACK"
    INCONCLUSIVE = "INCONCLUSIVE"
    CANCELLED = "CANCELLED"


class VersionState(StrEnum):
    """States of a version in a lane."""

    PENDING = "PENDING"
    TESTING = "TESTING"
    STABLE = "STABLE"
    DEPRECATED = "DEPRECATED"
    FAILED = "FAILED"
    WITHDRAWN = "WITHDRAWN"


class RolloutOperation(StrEnum):
    """What can happen to a rollout; the value is what it is called in messages, {} what it happens to.

    ACTIVATE: the lane is free for the waiting rollout. BEGIN: a Worker has the version ready. REPLACE: a Worker has
    the version ready and the stable one was never ready anywhere. SUPERSEDE: a newer publication takes its place.
    """

    ACTIVATE = "activate {}"
    BEGIN = "begin {}"
    REPLACE = "replace stable by {}"
    ADVANCE = "advance {}"
    PAUSE = "pause {}"
    RESUME = "resume {}"
    APPROVE = "approve {}"
    PROMOTE = "promote {}"
    ROLLBACK = "roll {} back"
    CONCLUDE = "end {} as inconclusive"
    CANCEL = "cancel {}"
    SUPERSEDE = "supersede {}"


class VersionOperation(StrEnum):
    """What can happen to a version in a lane; the value is what it is called in messages, {} what it happens to.

    ESTABLISH: it is the lane's first. TEST: its rollout is live. RELEASE: its rollout ended without blame. RESTORE: it
    is stable again. CONDEMN: it was stable, and is found bad.
    """

    ESTABLISH = "make {} stable as the first"
    TEST = "test {}"
    PROMOTE = "promote {}"
    FAIL = "roll {} back"
    RELEASE = "release {}"
    DEPRECATE = "deprecate {}"
    RESTORE = "make {} stable again"
    CONDEMN = "mark {} as failed"
    WITHDRAW = "withdraw {}"


REFUSED_STATES: Final = frozenset({VersionState.FAILED, VersionState.WITHDRAWN})
"""States in which no request of the lane may reach a version, pinned ones neither."""
LIVE_STATES: Final = frozenset({RolloutState.WAITING_READY, RolloutState.RUNNING, RolloutState.PAUSED})
"""States in which a rollout holds its lane."""
SHARING_STATES: Final = frozenset({RolloutState.RUNNING, RolloutState.PAUSED})
"""States in which the test version may get traffic."""
OPEN_STATES: Final = LIVE_STATES | {RolloutState.QUEUED}
"""States of a rollout that has not ended."""

CLOCK_OPERATIONS: Final = frozenset({RolloutOperation.PAUSE, RolloutOperation.RESUME})
"""Operations that stop the plan's clock or let it go on: no version and no share changes by them."""

ROLLOUT_TRANSITIONS: Final[Mapping[tuple[RolloutState, RolloutOperation], RolloutState]] = {
    (RolloutState.QUEUED, RolloutOperation.ACTIVATE): RolloutState.WAITING_READY,
    (RolloutState.QUEUED, RolloutOperation.APPROVE): RolloutState.QUEUED,
    (RolloutState.QUEUED, RolloutOperation.CANCEL): RolloutState.CANCELLED,
    (RolloutState.QUEUED, RolloutOperation.SUPERSEDE): RolloutState.CANCELLED,
    (RolloutState.WAITING_READY, RolloutOperation.BEGIN): RolloutState.RUNNING,
    (RolloutState.WAITING_READY, RolloutOperation.REPLACE): RolloutState.PROMOTED,
    (RolloutState.WAITING_READY, RolloutOperation.APPROVE): RolloutState.WAITING_READY,
    (RolloutState.WAITING_READY, RolloutOperation.ROLLBACK): RolloutState.ROLLED_BACK,
    (RolloutState.WAITING_READY, RolloutOperation.CONCLUDE): RolloutState.INCONCLUSIVE,
    (RolloutState.WAITING_READY, RolloutOperation.CANCEL): RolloutState.CANCELLED,
    (RolloutState.RUNNING, RolloutOperation.ADVANCE): RolloutState.RUNNING,
    (RolloutState.RUNNING, RolloutOperation.PAUSE): RolloutState.PAUSED,
    (RolloutState.RUNNING, RolloutOperation.PROMOTE): RolloutState.PROMOTED,
    (RolloutState.RUNNING, RolloutOperation.APPROVE): RolloutState.RUNNING,
    (RolloutState.RUNNING, RolloutOperation.ROLLBACK): RolloutState.ROLLED_BACK,
    (RolloutState.RUNNING, RolloutOperation.CONCLUDE): RolloutState.INCONCLUSIVE,
    (RolloutState.RUNNING, RolloutOperation.CANCEL): RolloutState.CANCELLED,
    # A person takes over a pause of the Evaluator's, which then no longer ends it.
    (RolloutState.PAUSED, RolloutOperation.PAUSE): RolloutState.PAUSED,
    (RolloutState.PAUSED, RolloutOperation.RESUME): RolloutState.RUNNING,
    (RolloutState.PAUSED, RolloutOperation.PROMOTE): RolloutState.PROMOTED,
    (RolloutState.PAUSED, RolloutOperation.APPROVE): RolloutState.PAUSED,
    (RolloutState.PAUSED, RolloutOperation.ROLLBACK): RolloutState.ROLLED_BACK,
    (RolloutState.PAUSED, RolloutOperation.CONCLUDE): RolloutState.INCONCLUSIVE,
    (RolloutState.PAUSED, RolloutOperation.CANCEL): RolloutState.CANCELLED,
}

VERSION_TRANSITIONS: Final[Mapping[tuple[VersionState, VersionOperation], VersionState]] = {
    (VersionState.PENDING, VersionOperation.ESTABLISH): VersionState.STABLE,
    (VersionState.PENDING, VersionOperation.TEST): VersionState.TESTING,
    (VersionState.TESTING, VersionOperation.PROMOTE): VersionState.STABLE,
    (VersionState.TESTING, VersionOperation.FAIL): VersionState.FAILED,
    (VersionState.TESTING, VersionOperation.RELEASE): VersionState.PENDING,
    (VersionState.STABLE, VersionOperation.DEPRECATE): VersionState.DEPRECATED,
    (VersionState.STABLE, VersionOperation.CONDEMN): VersionState.FAILED,
    (VersionState.DEPRECATED, VersionOperation.RESTORE): VersionState.STABLE,
    (VersionState.PENDING, VersionOperation.WITHDRAW): VersionState.WITHDRAWN,
}

# What happens by itself, and what moves no rollout.
_NO_ADVICE: Final = frozenset(
    {
        RolloutOperation.ACTIVATE,
        RolloutOperation.BEGIN,
        RolloutOperation.REPLACE,
        RolloutOperation.SUPERSEDE,
        RolloutOperation.APPROVE,
    }
)
# Where a person has paused it, it is not even possible.
_NO_WAY_ON: Final = (RolloutState.PAUSED, RolloutOperation.PAUSE)


def rollout_after(name: str, state: RolloutState, operation: RolloutOperation) -> RolloutState:
    """The state of a rollout after an operation.

    Args:
        name: the rollout, as messages call it: `rollout 8 (v3)`.

    Raises:
        FailedPreconditionError: TRANSITION_ILLEGAL, with what is possible instead.
    """
    after = ROLLOUT_TRANSITIONS.get((state, operation))
    if after is None:
        others = (
            other
            for before, other in ROLLOUT_TRANSITIONS
            if before is state and other not in _NO_ADVICE and (before, other) != _NO_WAY_ON
        )
        possible = [other.replace(" {}", "") for other in others]
        hint = f"possible now: {', '.join(possible)}" if possible else "it has ended and nothing changes it any more"
        raise FailedPreconditionError(
            "TRANSITION_ILLEGAL",
            f"{name} is {state}, so it is not possible to {operation.format('it')}; {hint}",
            state=state,
            operation=operation.name,
        )
    return after


def version_after(version: str, state: VersionState, operation: VersionOperation) -> VersionState:
    """The state of a version in its lane after an operation.

    Raises:
        FailedPreconditionError: TRANSITION_ILLEGAL, with what to do instead.
    """
    after = VERSION_TRANSITIONS.get((state, operation))
    if after is None:
        raise FailedPreconditionError(
            "TRANSITION_ILLEGAL",
            f"version {version} is {state} in this lane, so it is not possible to {operation.format('it')}; "
            f"{_ADVICE[state]}",
            state=state,
            operation=operation.name,
        )
    return after


_ADVICE: Final[Mapping[VersionState, str]] = {
    VersionState.PENDING: "start a rollout of it first",
    VersionState.TESTING: "its rollout is under way: promote, roll back or cancel that",
    VersionState.STABLE: "it has all of the lane's traffic already",
    VersionState.DEPRECATED: "undo the lane to make it stable again, or publish its artifact under a new version id",
    VersionState.WITHDRAWN: "it was taken back: publish its artifact again under a new version id",
    VersionState.FAILED: "FAILED is final in the lane: publish a corrected artifact under a new version id",
}
