"""Two Evaluators at work on one rollout: each look is one's alone, and what they conclude is carried out once."""

import pytest

from crossfade.registry.v1 import resources_pb2
from evaluator.app import App
from services.common.telemetry import catalog, operations
from tests.fakes.metrics import Behaviour
from tests.integration.evaluator.conftest import MakeScene
from tests.integration.evaluator.journal import Journal
from tests.integration.evaluator.scene import Scene, quick_terms
from tests.integration.evaluator.test_rollouts_over_grpc import check_that_each_count_is_in_one_window, ended
from tests.support.wait import until_async
from tests.support.worker import counted, metrics

LOOK_MICROSECONDS = 250_000


async def told(evaluators: list[App], metric: catalog.Metric, **attributes: str) -> list[int]:
    """What each counts of itself."""
    return [counted(await metrics(one.address), metric, **attributes) for one in evaluators]


async def none_watched(evaluators: list[App]) -> bool:
    """Whether none of them looks at a rollout any more."""
    series = [one for app in evaluators for one in await metrics(app.address)]
    return not any(one.total for one in series if one.metric is operations.ROLLOUTS_WATCHED)


async def both_at_work(scene: Scene, journals: list[Journal]) -> bool:
    """Whether each has recorded judged looks, and one has come too late with one."""
    judged = {look.sequence for look in await scene.looks() if look.judged}
    return all(judged & set(one.looks) for one in journals) and any(
        await told(scene.evaluators, operations.LOOK_DURATION, outcome="superseded")
    )


@pytest.mark.parametrize("good", [True, False], ids=["good", "failing"])
async def test_two_evaluators_count_each_window_once_and_end_the_rollout_once(scene: MakeScene, *, good: bool) -> None:
    made = await scene(quick_terms(5000, period=60.0))
    # Until a person agrees it lives, so that what the two do to each other is waited for.
    made.approved = True
    journals = [Journal("rollout"), Journal("rollout")]
    for journal in journals:
        await made.evaluate(log=journal.log)
    await made.publish()
    await until_async(lambda: both_at_work(made, journals), 30)
    if good:
        await made.approve()
    else:
        made.fleet.test = Behaviour(errors=0.1)
    rollout = await made.until(ended)
    state, action, gate = ("PROMOTED", "promote", "") if good else ("ROLLED_BACK", "rollback", "errors")
    assert resources_pb2.RolloutState.Name(rollout.state) == f"ROLLOUT_STATE_{state}", rollout.outcome.reason
    assert (rollout.outcome.gate, rollout.outcome.actor) == (gate, "local:evaluator")
    assert rollout.outcome.reason.startswith("v2 is no worse than v1: " if good else "v2 failed ")
    looks = await check_that_each_count_is_in_one_window(made)
    assert rollout.outcome.analysis_sequence == looks[-1].sequence
    seconds = looks[-1].record_time.ToMicroseconds() - looks[0].record_time.ToMicroseconds()
    assert len(looks) <= seconds / LOOK_MICROSECONDS * 1.25 + 3
    # Both have heard of the end, so that whatever they were about to do is done.
    await until_async(lambda: none_watched(made.evaluators), 30)
    first, second = (set(journal.looks) for journal in journals)
    assert not first & second
    assert sum(await told(made.evaluators, operations.DECISION_COUNT, action=action)) <= 1
    ends = [event.type for event in await made.events() if event.type in ("ROLLOUT_PROMOTED", "ROLLOUT_ROLLED_BACK")]
    assert ends == [f"ROLLOUT_{state}"]
