"""`publish --wait`: how a rollout's end is told."""

from typing import Any

import pytest

from crossfade.cli.actions.publishing import _rollout_progress
from crossfade.cli.errors import CommandError
from crossfade.registry.v1 import resources_pb2 as resources


class Told:
    """A Registry that tells one rollout."""

    def __init__(self, state: "resources.RolloutState.ValueType", code: str, reason: str) -> None:
        self._rollout = resources.Rollout(name="models/churn/rollouts/4", version="v4", state=state)
        self._rollout.outcome.code, self._rollout.outcome.reason = code, reason

    def rollout(self, _name: str) -> resources.Rollout:
        return self._rollout


def test_copies_that_have_passed_are_a_good_end_and_say_what_is_next() -> None:
    told: Any = Told(resources.ROLLOUT_STATE_INCONCLUSIVE, "SHADOW_PASSED", "v4 has passed in shadow.")
    said, done = next(_rollout_progress(told, "models/churn/rollouts/4"))
    assert done
    assert said == "rollout 4: v4 INCONCLUSIVE: v4 has passed in shadow. Live requests: crossfade start churn v4"


def test_too_little_evidence_is_an_error() -> None:
    told: Any = Told(resources.ROLLOUT_STATE_INCONCLUSIVE, "TOO_LITTLE_EVIDENCE", "the period ended")
    with pytest.raises(CommandError, match="v4 INCONCLUSIVE: the period ended"):
        next(_rollout_progress(told, "models/churn/rollouts/4"))
