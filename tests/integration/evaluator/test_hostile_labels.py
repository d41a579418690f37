"""A caller that means harm sends labels to a real Router: a real Evaluator's verdict is that of the honest ones."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from crossfade.client import AsyncClient
from crossfade.common.v1 import analysis_pb2
from crossfade.observing import FeedbackSummary
from crossfade.predict.v1 import predict_pb2
from crossfade.registry.v1 import resources_pb2
from router.app import App
from router.settings import RouterSettings
from services.common.telemetry import catalog
from tests.fakes.hostile_labels import FIRST_REPEATS, KEY, SentLabels
from tests.fakes.late_labels import LateLabels
from tests.fakes.metrics import Behaviour
from tests.integration.evaluator.conftest import MakeScene
from tests.integration.evaluator.scene import MODEL, Scene, quick_terms
from tests.integration.evaluator.test_rollouts_over_grpc import ended
from tests.support.wait import until


class Callers:
    """All callers, who label a scene's answers by the Router's RPC.

    Attributes:
        summaries: what became of what they sent.
    """

    def __init__(self, scene: Scene, router: App, claims: Mapping[str, bool]) -> None:
        self.summaries: list[FeedbackSummary] = []
        self.labels = SentLabels(send=self._send, claims=claims, repeats=50)
        self._scene = scene
        self._router = router
        self._outbox: list[predict_pb2.Observation] = []
        scene.fleet.labels = self.labels

    def _send(self, observations: list[predict_pb2.Observation]) -> None:
        self._outbox += observations

    async def run(self) -> None:
        """Sends until it is cancelled."""
        async with AsyncClient(self._router.address, timeout=20.0) as client:
            while True:
                await asyncio.sleep(0.05)
                # A Router labels what it has routed, so its table is no older than the answers.
                if self._epoch < self._scene.fleet.epoch:
                    continue
                observations, self._outbox = self._outbox, []
                self.summaries.append(await client.report(observations))

    @property
    def _epoch(self) -> int:
        lane = self._router.proxy.table.lanes.get((MODEL, ""))
        return lane.epoch if lane is not None else -1

    async def end(self) -> None:
        """Waits until all that was sent has been answered."""
        self._scene.fleet.labels = LateLabels()
        answered = len(self.summaries)
        await until(lambda: not self._outbox and len(self.summaries) > answered + 1, 30)


def judged(look: analysis_pb2.Analysis, router: str) -> int:
    """Labels that a look has seen at a Router."""
    return sum(
        sum(series.counts)
        for instance in look.cursor.instances
        if instance.instance_id == router
        for series in instance.series
        if series.metric == catalog.FEEDBACK_COUNT.name
    )


@pytest.mark.parametrize(
    ("test", "claims", "state", "gate"),
    [
        (Behaviour(wrong=0.05), {"v2": False}, "PROMOTED", ""),
        (Behaviour(wrong=0.3), {"v2": True, "v1": False}, "ROLLED_BACK", "accuracy"),
    ],
    ids=["good", "bad"],
)
async def test_labels_that_are_repeated_and_forged_at_a_router_turn_no_verdict_round(
    scene: MakeScene, tmp_path: Path, test: Behaviour, claims: Mapping[str, bool], state: str, gate: str
) -> None:
    made = await scene(quick_terms(5000, period=60.0))
    made.fleet.test, made.fleet.rate = test, 2_000.0
    keys = tmp_path / "keys"
    keys.write_text(f"1 {KEY.hex()}\n")
    router = App(
        RouterSettings(
            listen="127.0.0.1:0", registry=made.registry, token_keys=keys, log_level="error", drain_seconds=0.2
        )
    )
    await router.start()
    callers = Callers(made, router, claims)
    sending = asyncio.create_task(callers.run())
    try:
        await made.evaluate()
        await made.publish()
        rollout = await made.until(ended, 60)
        assert resources_pb2.RolloutState.Name(rollout.state) == f"ROLLOUT_STATE_{state}", rollout.outcome.reason
        assert rollout.outcome.gate == gate
        await callers.end()
        looks = await made.looks()
    finally:
        sending.cancel()
        await asyncio.wait([sending])
        await router.stop()
        if not sending.cancelled():
            # What ended it says why the rollout did not end as it should.
            sending.result()
    accepted = sum(one.accepted for one in callers.summaries)
    assert 1_000 < judged(looks[-1], router.instance_id) <= accepted <= callers.labels.sent
    assert callers.labels.repeated == dict.fromkeys(claims, FIRST_REPEATS)
    assert sum(one.duplicates for one in callers.summaries) >= len(claims) * (FIRST_REPEATS - 1)
    assert sum(len(one.refused) for one in callers.summaries) == callers.labels.forged > 0
