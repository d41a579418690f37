"""Debounced readiness."""

from dataclasses import replace

import pytest

from registry.domain.serving import Placement, Serving, ServingState, Traffic, is_due, settle

NOW = 1_000.0


def serving(state: ServingState, address: str = "h:1") -> Serving:
    return Serving("m", "v1", Traffic.LIVE, address, state)


def step(
    before: Placement | None, state: ServingState, now: float, address: str = "h:1"
) -> tuple[Placement, float | None]:
    known = {} if before is None else {before.serving.key: before}
    (placed,), recheck = settle("w1", [serving(state, address)], known, now=now, debounce=3.0)
    return placed, recheck


def test_a_restart_keeps_readiness_for_a_while() -> None:
    ready, recheck = step(None, ServingState.READY, NOW)
    assert (ready.ready, recheck) == (True, None)
    restarting, recheck = step(ready, ServingState.LOADING, NOW + 10, address="")
    assert (restarting.ready, recheck, restarting.serving.address) == (True, NOW + 13, "h:1")
    still, recheck = step(restarting, ServingState.LOADING, NOW + 12)
    assert (still.ready, recheck) == (True, NOW + 13)
    lost, recheck = step(still, ServingState.LOADING, NOW + 13)
    assert (lost.ready, recheck) == (False, None)
    # Not ready any more, so that loading on does not make it so.
    on, recheck = step(lost, ServingState.LOADING, NOW + 14)
    assert (on.ready, recheck) == (False, None)
    back, _ = step(on, ServingState.READY, NOW + 15)
    assert back.ready


def test_a_loss_that_is_put_off_for_long_is_looked_at_when_its_time_has_come() -> None:
    now, debounce = NOW, 3600.0
    assert not is_due(now + debounce, now, debounce)
    assert is_due(now + debounce, now + debounce, debounce)
    assert not is_due(None, now, debounce)


@pytest.mark.parametrize("back", [600.0, 86_400.0])
def test_a_restart_keeps_readiness_no_longer_when_the_clock_is_set_back(back: float) -> None:
    ready, _ = step(None, ServingState.READY, NOW)
    restarting, recheck = step(ready, ServingState.LOADING, NOW)
    now = NOW - back
    assert is_due(recheck, now, 3.0)
    still, recheck = step(restarting, ServingState.LOADING, now)
    assert (still.ready, recheck) == (True, now + 3.0)
    assert not is_due(recheck, now + 2.0, 3.0)
    assert is_due(recheck, now + 3.0, 3.0)
    lost, _ = step(still, ServingState.LOADING, now + 3.0)
    assert not lost.ready


def test_a_quick_restart_changes_nothing() -> None:
    ready, _ = step(None, ServingState.READY, NOW)
    restarting, _ = step(ready, ServingState.LOADING, NOW + 1)
    back, recheck = step(restarting, ServingState.READY, NOW + 2)
    assert (back.ready, recheck, back.serving) == (True, None, ready.serving)


def test_failure_and_draining_count_at_once() -> None:
    ready, _ = step(None, ServingState.READY, NOW)
    for state in (ServingState.FAILED, ServingState.DRAINING):
        gone, recheck = step(ready, state, NOW + 1)
        assert (gone.ready, recheck) == (False, None)


def test_first_load_is_not_ready() -> None:
    loading, recheck = step(None, ServingState.LOADING, NOW)
    assert (loading.ready, recheck) == (False, None)


def test_each_version_and_kind_of_traffic_restarts_by_itself() -> None:
    both = [serving(ServingState.READY), Serving("m", "v1", Traffic.CONTROL, "h:2", ServingState.READY)]
    ready, _ = settle("w1", both, {}, now=NOW, debounce=3.0)
    loading = [replace(one, state=ServingState.LOADING) for one in both]
    first, recheck = settle("w1", [loading[0], both[1]], {one.serving.key: one for one in ready}, now=NOW, debounce=3.0)
    assert [one.serving.address for one in first] == ["h:1", "h:2"]
    then, again = settle("w1", loading, {one.serving.key: one for one in first}, now=NOW + 1, debounce=3.0)
    assert all(one.ready for one in then)
    # The one that restarted first is looked at first.
    assert recheck == again == NOW + 3
