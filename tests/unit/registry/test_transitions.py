"""Every pair of state and operation of the state machine, legal and illegal."""

from itertools import product

import pytest

from registry.domain.states import (
    LIVE_STATES,
    OPEN_STATES,
    ROLLOUT_TRANSITIONS,
    VERSION_TRANSITIONS,
    RolloutOperation,
    RolloutState,
    VersionOperation,
    VersionState,
    rollout_after,
    version_after,
)
from services.common.errors import FailedPreconditionError

# Written out again on purpose: a change of the table has to be meant.
ROLLOUT_LEGAL = {
    "QUEUED": {"APPROVE": "QUEUED", "ACTIVATE": "WAITING_READY", "CANCEL": "CANCELLED", "SUPERSEDE": "CANCELLED"},
    "WAITING_READY": {
        "APPROVE": "WAITING_READY",
        "BEGIN": "RUNNING",
        "REPLACE": "PROMOTED",
        "ROLLBACK": "ROLLED_BACK",
        "CONCLUDE": "INCONCLUSIVE",
        "CANCEL": "CANCELLED",
    },
    "RUNNING": {
        "APPROVE": "RUNNING",
        "ADVANCE": "RUNNING",
        "PAUSE": "PAUSED",
        "PROMOTE": "PROMOTED",
        "ROLLBACK": "ROLLED_BACK",
        "CONCLUDE": "INCONCLUSIVE",
        "CANCEL": "CANCELLED",
    },
    "PAUSED": {
        "APPROVE": "PAUSED",
        "PAUSE": "PAUSED",
        "RESUME": "RUNNING",
        "PROMOTE": "PROMOTED",
        "ROLLBACK": "ROLLED_BACK",
        "CONCLUDE": "INCONCLUSIVE",
        "CANCEL": "CANCELLED",
    },
}
VERSION_LEGAL = {
    "PENDING": {"ESTABLISH": "STABLE", "TEST": "TESTING", "WITHDRAW": "WITHDRAWN"},
    "TESTING": {"PROMOTE": "STABLE", "FAIL": "FAILED", "RELEASE": "PENDING"},
    "STABLE": {"DEPRECATE": "DEPRECATED", "CONDEMN": "FAILED"},
    "DEPRECATED": {"RESTORE": "STABLE"},
}


@pytest.mark.parametrize(("state", "operation"), list(product(RolloutState, RolloutOperation)))
def test_rollout(state: RolloutState, operation: RolloutOperation) -> None:
    expected = ROLLOUT_LEGAL.get(state.name, {}).get(operation.name)
    if expected is not None:
        assert rollout_after("rollout 8 (v3)", state, operation) is RolloutState[expected]
        return
    with pytest.raises(FailedPreconditionError, match=r"rollout 8 \(v3\) is " + state) as caught:
        rollout_after("rollout 8 (v3)", state, operation)
    assert caught.value.reason == "TRANSITION_ILLEGAL"
    assert ("possible now: " in caught.value.message) == (state.name in ROLLOUT_LEGAL)


@pytest.mark.parametrize(("state", "operation"), list(product(VersionState, VersionOperation)))
def test_version(state: VersionState, operation: VersionOperation) -> None:
    expected = VERSION_LEGAL.get(state.name, {}).get(operation.name)
    if expected is not None:
        assert version_after("v3", state, operation) is VersionState[expected]
        return
    with pytest.raises(FailedPreconditionError, match="version v3 is " + state) as caught:
        version_after("v3", state, operation)
    assert caught.value.reason == "TRANSITION_ILLEGAL"


def test_messages_are_sentences() -> None:
    with pytest.raises(FailedPreconditionError, match="PROMOTED, so it is not possible to roll it back; it has ended"):
        rollout_after("rollout 8 (v3)", RolloutState.PROMOTED, RolloutOperation.ROLLBACK)
    with pytest.raises(FailedPreconditionError, match="so it is not possible to make it stable again; it has all of"):
        version_after("v3", VersionState.STABLE, VersionOperation.RESTORE)


def test_messages_offer_what_people_can_do() -> None:
    with pytest.raises(FailedPreconditionError) as caught:
        rollout_after("rollout 8 (v3)", RolloutState.QUEUED, RolloutOperation.PROMOTE)
    assert caught.value.message.endswith("possible now: cancel")
    with pytest.raises(FailedPreconditionError) as caught:
        rollout_after("rollout 8 (v3)", RolloutState.PAUSED, RolloutOperation.ADVANCE)
    assert "possible now: resume, promote, roll back" in caught.value.message


def test_ended_states_have_no_way_out() -> None:
    left = {state for state, _ in ROLLOUT_TRANSITIONS}
    assert left == set(OPEN_STATES)
    assert set(RolloutState) - OPEN_STATES == {
        RolloutState.PROMOTED,
        RolloutState.ROLLED_BACK,
        RolloutState.INCONCLUSIVE,
        RolloutState.CANCELLED,
    }
    assert VersionState.FAILED not in {state for state, _ in VERSION_TRANSITIONS}
    assert RolloutState.QUEUED not in LIVE_STATES
