"""A transition is for a rollout as its caller has seen it, and rests on its latest look."""

from dataclasses import replace

import pytest

from registry.domain.records import Rollout
from registry.service.targets import Target, check_seen
from services.common.errors import AbortedError
from tests.unit.registry.lanes import running_lane


def rollout() -> Rollout:
    """One of which two looks were recorded."""
    live = running_lane(500).live
    assert live is not None
    return replace(live, analysis_sequence=2)


@pytest.mark.parametrize("look", [0, 2])
def test_a_transition_rests_on_the_latest_look_or_on_none(look: int) -> None:
    seen = rollout()
    check_seen(seen, Target("m", 1, seen.etag, look))


@pytest.mark.parametrize("look", [1, 3])
def test_no_look_but_the_latest_is_rested_on(look: int) -> None:
    seen = rollout()
    with pytest.raises(AbortedError, match=f"look {look} of .* is not the latest, which is 2") as caught:
        check_seen(seen, Target("m", 1, seen.etag, look))
    assert (caught.value.reason, caught.value.metadata) == ("SEQUENCE_STALE", {"analysis_sequence": "2"})


def test_a_rollout_that_has_changed_since_is_to_be_read_again() -> None:
    with pytest.raises(AbortedError, match="read it again and decide again") as caught:
        check_seen(rollout(), Target("m", 1, "old", 2))
    assert caught.value.reason == "ETAG_STALE"
