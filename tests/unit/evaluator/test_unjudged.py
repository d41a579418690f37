"""Rollouts that end unjudged, for their policy, their release, or since nothing runs."""

from dataclasses import replace

from evaluator.verdict.decision import Action, Phase
from evaluator.verdict.readiness import Serving
from evaluator.verdict.reports import Verdict
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from tests.unit.evaluator.world import DRAFT, NAME, world


async def test_where_nothing_runs_a_version_is_waited_for_as_long_as_anywhere_and_no_longer() -> None:
    made = world(phase=Phase.WAITING, stable="", step_start=0.0, policy=replace(DRAFT, look_interval=30.0))
    made.ledger.serving, made.source.fleet.routers, made.source.fleet.workers = None, (), ()
    for minutes in range(15):
        made.clock.advance(60.0)
        # Whichever Evaluator it is that looks.
        await made.evaluator().look(NAME)
        assert (minutes, made.ledger.acted) == (minutes, [])
    made.clock.advance(60.0)
    await made.evaluator().look(NAME)
    assert [(one.action, one.code) for one in made.ledger.acted] == [(Action.CANCEL, "NOT_READY")]


async def test_a_lanes_first_version_that_cannot_be_loaded_holds_its_lane_no_longer() -> None:
    made = world(phase=Phase.WAITING, stable="", step_start=0.0)
    made.ledger.stable, made.ledger.serving = "", Serving.FAILED
    await made.looks(made.evaluator(), 1)
    assert [(one.action, one.code) for one in made.ledger.acted] == [(Action.ROLLBACK, "LOAD_FAILED")]


async def test_a_rollout_that_cannot_be_judged_by_its_policy_is_ended() -> None:
    made = world(policy=replace(DRAFT, alpha_rollback=0.9))
    assert await made.evaluator().look(NAME) == 30.0
    assert made.ledger.decisions[0].reason.startswith(
        "it can't be judged by its policy (policy.alpha_rollback: 0.9 is out of range"
    )
    assert not made.ledger.looks[0].judged
    (acted,) = made.ledger.acted
    assert (acted.action, acted.verdict, acted.code) == (Action.CANCEL, Verdict.INCONCLUSIVE, "POLICY_INVALID")


async def test_a_rollout_that_a_newer_release_started_is_ended_with_what_this_one_does_not_know() -> None:
    made = world(unknown=("plan.steps[0].mode",), objective=None)
    await made.evaluator().look(NAME)
    (acted,) = made.ledger.acted
    assert (acted.action, acted.code) == (Action.CANCEL, "POLICY_INVALID")
    assert acted.reason == (
        "it can't be judged by its policy (plan.steps[0].mode: this release of the Evaluator does not know it; "
        "objective: this release of the Evaluator does not know it); start it again with another"
    )


async def test_a_policy_by_key_that_an_older_release_took_is_judged_by_what_can_be() -> None:
    gates = tuple(GateDraft(metric, required=True) for metric in (MetricKind.ERRORS, MetricKind.RUNTIME))
    made = world(sticky=True, policy=replace(DRAFT, gates=gates))
    await made.looks(made.evaluator(), 5)
    assert not made.ledger.acted
    assert [(one.gate, one.required) for one in made.ledger.decisions[-1].gates] == [
        ("errors", True),
        ("runtime", False),
    ]
