"""Callers that are too late are told so from memory, and nobody else is."""

import pytest

from registry.domain.records import Assignment, Objective, Rollout, Spec
from registry.domain.states import RolloutState
from registry.service import superseded
from registry.service.superseded import Superseded
from registry.service.targets import Target
from services.common.errors import AbortedError
from tests.fakes.clock import ManualClock


def rollout(etag: str, state: RolloutState = RolloutState.RUNNING) -> Rollout:
    spec = Spec((), b"", Objective.NON_INFERIOR, Assignment.REQUEST)
    return Rollout("m", 1, "", "v2", "v1", state, spec, 0.0, "me", "as it is", etag)


def target(etag: str) -> Target:
    return Target("m", 1, etag, 0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def known(clock: ManualClock) -> Superseded:
    return Superseded(clock)


def test_an_etag_that_nobody_has_replaced_passes(known: Superseded) -> None:
    known.note("a", rollout("b"))
    known.check(target("b"))
    known.check(target("from another replica"))


def test_a_late_caller_hears_what_is_the_case_by_now(known: Superseded) -> None:
    known.note("a", rollout("b", RolloutState.PAUSED))
    known.note("b", rollout("c"))
    with pytest.raises(AbortedError, match="it is RUNNING") as caught:
        known.check(target("a"))
    assert caught.value.reason == "ETAG_STALE"
    assert caught.value.metadata["etag"] == "c"


def test_it_forgets_the_oldest(known: Superseded) -> None:
    for number in range(superseded.KEPT + 1):
        known.note(f"{number}", rollout(f"{number + 1}"))
    known.check(target("0"))
    with pytest.raises(AbortedError):
        known.check(target("1"))


def test_what_is_known_counts_for_a_moment_for_a_database_may_have_been_put_back(
    known: Superseded, clock: ManualClock
) -> None:
    known.note("a", rollout("b", RolloutState.PAUSED))
    clock.advance(superseded.TRUSTED_SECONDS)
    with pytest.raises(AbortedError):
        known.check(target("a"))
    clock.advance(0.1)
    known.check(target("a"))
    # Of a chain of changes its latest says how long.
    known.note("b", rollout("c"))
    with pytest.raises(AbortedError, match="it is RUNNING"):
        known.check(target("a"))
