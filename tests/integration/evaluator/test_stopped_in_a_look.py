"""Two Evaluators as processes, one of them stopped in the middle of a look and continued a minute later."""

import asyncio
import signal
from pathlib import Path

import pytest

from crossfade.registry.v1 import resources_pb2
from tests.integration.evaluator.conftest import MakeScene
from tests.integration.evaluator.scene import Scene, quick_terms
from tests.integration.evaluator.stoppable import evaluators
from tests.integration.evaluator.test_rollouts_over_grpc import check_that_each_count_is_in_one_window, ended
from tests.support.stopping_evaluator import LOOK
from tests.support.wait import until

STOPPED_SECONDS = 60.0
"""Longer than leases, deadlines and connections last."""
LOOKS = 10


async def looks_go_on(made: Scene) -> int:
    """Waits for some looks more, and answers the number of the latest."""
    wanted = (await made.rollout()).analysis_sequence + LOOKS
    return (await made.until(lambda rollout: rollout.analysis_sequence >= wanted, seconds=60)).analysis_sequence


@pytest.mark.timeout(360)
async def test_a_look_that_was_stopped_for_a_minute_counts_nothing_again(scene: MakeScene, tmp_path: Path) -> None:
    made = await scene(quick_terms(5000, period=600.0))
    # Until a person agrees it lives.
    made.approved, made.fleet.rate = True, 500.0
    stopped = tmp_path / "stopped"
    async with evaluators(made, stopped, 2, LOOK) as processes:
        await made.publish(looked_at=True)
        await until(lambda: stopped.exists() and stopped.read_text(), seconds=60)
        (late,) = (process for process in processes if process.pid == int(stopped.read_text()))
        (other,) = (process for process in processes if process is not late)
        late.send_signal(signal.SIGSTOP)
        await looks_go_on(made)
        await asyncio.sleep(STOPPED_SECONDS)
        stopped.with_suffix(".go").touch()
        late.send_signal(signal.SIGCONT)
        outcome = stopped.with_suffix(".outcome")
        await until(outcome.exists, seconds=60)
        # It is refused, unless its connection was given up while it stood still, so that nothing was sent.
        told = outcome.read_text()
        assert told.startswith(("SupersededError", "CancelledError", "UnreachableError: UNAVAILABLE")), told
        await looks_go_on(made)
        # Who was stopped goes on alone, from where the other was.
        other.kill()
        await other.wait()
        await looks_go_on(made)
        await made.approve()
        rollout = await made.until(ended, seconds=60)
        assert late.returncode is None
    assert rollout.state == resources_pb2.ROLLOUT_STATE_PROMOTED, rollout.outcome.reason
    looks = await check_that_each_count_is_in_one_window(made)
    assert rollout.outcome.analysis_sequence == looks[-1].sequence
