"""Three Evaluators as processes, one of them stopped with its decision in its hands."""

import asyncio
import signal
import uuid
from pathlib import Path

import grpc
import pytest
from grpc import aio

from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.fakes.metrics import Behaviour
from tests.integration.evaluator.conftest import MakeScene
from tests.integration.evaluator.scene import quick_terms
from tests.integration.evaluator.stoppable import evaluators
from tests.integration.evaluator.test_rollouts_over_grpc import check_that_each_count_is_in_one_window, ended
from tests.support.wait import until

STOPPED_SECONDS = 60.0


@pytest.mark.timeout(240)
async def test_an_evaluator_that_was_stopped_before_its_rpc_is_refused(scene: MakeScene, tmp_path: Path) -> None:
    made = await scene(quick_terms(500))
    made.fleet.test = Behaviour(errors=0.05)
    stopped = tmp_path / "stopped"
    async with evaluators(made, stopped, 3) as processes:
        await made.publish(looked_at=True)
        await until(lambda: stopped.exists() and stopped.read_text(), seconds=60)
        late = next(process for process in processes if process.pid == int(stopped.read_text()))
        late.send_signal(signal.SIGSTOP)
        seen = await made.rollout()
        # The other two go on, and decide alike.
        rollout = await made.until(ended)
        assert rollout.state == resources_pb2.ROLLOUT_STATE_ROLLED_BACK
        await asyncio.sleep(STOPPED_SECONDS)
        stopped.with_suffix(".go").touch()
        late.send_signal(signal.SIGCONT)
        outcome = stopped.with_suffix(".outcome")
        await until(outcome.exists, seconds=30)
        # It is refused, unless the process has learnt before it was sent that the rollout has ended, or its connection
        # was given up while it stood still, so that nothing was sent.
        refusal = "SupersededError: ABORTED: rollout 1 (v2) has changed since you read it"
        told = outcome.read_text()
        assert told.startswith((refusal, "CancelledError", "UnreachableError: UNAVAILABLE")), told
        request = service_pb2.RollbackRolloutRequest(
            name=seen.name, etag=seen.etag, analysis_sequence=seen.analysis_sequence, request_id=str(uuid.uuid4())
        )
        with pytest.raises(aio.AioRpcError) as refused:
            await made.stub.RollbackRollout(request)
        assert refused.value.code() in (grpc.StatusCode.ABORTED, grpc.StatusCode.FAILED_PRECONDITION)
        assert late.returncode is None
        events = [event.type for event in await made.events()]
        assert events.count("ROLLOUT_ROLLED_BACK") == 1
        assert (await made.rollout()).outcome == rollout.outcome
        await check_that_each_count_is_in_one_window(made)
