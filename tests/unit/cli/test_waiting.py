"""`publish --wait`: how a rollout's end is told."""

from collections.abc import Iterator
from typing import Any

import pytest

from crossfade.cli.actions.following import follow, load_left, load_progress, rollout_left, rollout_progress
from crossfade.cli.common import Options
from crossfade.cli.context import Session
from crossfade.cli.errors import CommandError, ExitCode, NothingAnswersError
from crossfade.common.v1.model_pb2 import TRAFFIC_LIVE
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
    said, done = next(rollout_progress(told, "models/churn/rollouts/4"))
    assert done
    assert said == "rollout 4: v4 INCONCLUSIVE: v4 has passed in shadow. Live requests: crossfade start churn v4"


def test_too_little_evidence_is_an_error() -> None:
    told: Any = Told(resources.ROLLOUT_STATE_INCONCLUSIVE, "TOO_LITTLE_EVIDENCE", "the period ended")
    with pytest.raises(CommandError, match="v4 INCONCLUSIVE: the period ended"):
        next(rollout_progress(told, "models/churn/rollouts/4"))


class Restarted:
    """A Registry that is away at the first two questions."""

    def __init__(self) -> None:
        self._away = 2

    def rollout(self, name: str) -> resources.Rollout:
        self._ask()
        return resources.Rollout(name=name, version="v4", state=resources.ROLLOUT_STATE_PROMOTED)

    def version(self, _model: str, _version: str) -> resources.Version:
        self._ask()
        serving = resources.Serving(state=resources.SERVING_STATE_READY, traffic=TRAFFIC_LIVE, address="w:1")
        return resources.Version(readiness=[resources.Readiness(serving=serving)])

    def _ask(self) -> None:
        self._away -= 1
        if self._away >= 0:
            raise NothingAnswersError("localhost:8400", "registry")


def test_a_wait_outlasts_a_registry_that_is_away() -> None:
    rollout: Any = Restarted()
    version: Any = Restarted()
    for progress in (rollout_progress(rollout, "models/churn/rollouts/4"), load_progress(version, "churn", "v4")):
        sentences = [next(progress) for _ in range(3)]
        assert [done for _, done in sentences] == [False, False, True]
        for said, _ in sentences[:2]:
            assert said.startswith("nothing answers at localhost:8400. ")
            assert said.endswith("; trying again")


def test_a_wait_ends_when_the_registry_refuses() -> None:
    registry: Any = Refusing()
    with pytest.raises(CommandError, match="no rollout 4"):
        next(rollout_progress(registry, "models/churn/rollouts/4"))


class Refusing:
    """A Registry that knows nothing."""

    def rollout(self, _name: str) -> resources.Rollout:
        raise CommandError("model churn has no rollout 4")


def impatient() -> Iterator[tuple[str, bool]]:
    """Progress whose reader says Ctrl-C."""
    yield "rollout 4: v4 RUNNING", False
    raise KeyboardInterrupt


def test_a_wait_that_is_interrupted_says_that_the_rollout_goes_on_and_what_follows_it() -> None:
    rollout = resources.Rollout(name="models/churn/rollouts/4", version="v4", segment="eu")
    with pytest.raises(CommandError) as caught:
        follow(Session(Options()), "churn", impatient(), 60.0, rollout_left("churn", rollout))
    assert caught.value.exit_code == ExitCode.INTERRUPTED
    assert caught.value.message == (
        "the wait is ended; rollout 4 goes on without it: crossfade status churn -w follows it, and crossfade abort "
        "churn --rollout 4 --segment eu ends it"
    )
    assert load_left("churn", "v4") == (
        "v4 is loaded all the same: crossfade versions show churn v4 says when it is ready"
    )
