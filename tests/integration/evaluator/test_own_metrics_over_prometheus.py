"""A gate on the user's own counters, through the real Prometheus."""

import asyncio
from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter, start_http_server

from crossfade.registry.v1 import resources_pb2
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin
from services.common.ports import free_port
from tests.integration.evaluator.conftest import MakeScene
from tests.integration.evaluator.scene import Scene, quick_terms
from tests.support.prometheus import MakePrometheus

GATES = (
    GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(1.5, 0.01)),
    GateDraft(
        MetricKind.CUSTOM,
        name="refunds",
        required=True,
        bad_query="sum by (version, instance) (refunds_total)",
        total_query="sum by (version, instance) (orders_total)",
        safe=GateMargin(1.5, 0.05),
    ),
)


class Shop:
    """A service of the user's, which counts orders and refunds by the version that answered."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._orders = Counter("orders", "Orders.", ["version"], registry=registry)
        self._refunds = Counter("refunds", "Refunds.", ["version"], registry=registry)
        self.address = f"127.0.0.1:{free_port()}"
        self._server, _ = start_http_server(int(self.address.rpartition(":")[2]), "127.0.0.1", registry)

    async def sell(self, scene: Scene, refunded: float) -> None:
        """Sells for ever; `refunded` of what v2 sells comes back, and 5 % of what v1 sells."""
        while True:
            for version, orders, part in (("v1", 100, 0.05), ("v2", 40, refunded)):
                if version == "v1" or scene.fleet.share:
                    self._orders.labels(version).inc(orders)
                    self._refunds.labels(version).inc(round(orders * part))
            await asyncio.sleep(0.05)

    def close(self) -> None:
        """Ends its page."""
        self._server.shutdown()
        self._server.server_close()


async def outcome(scene: MakeScene, real_prometheus: MakePrometheus, refunded: float) -> resources_pb2.Rollout:
    shop = Shop()
    made = await scene(quick_terms(3000, gates=GATES, stale_after=3.0, period=40.0))
    task = asyncio.create_task(shop.sell(made, refunded))
    try:
        server = await asyncio.to_thread(real_prometheus, {"shop": [shop.address]}, 0.5)
        await made.evaluate(server.url, own_only=True)
        await made.publish()
        return await made.until(lambda rollout: rollout.HasField("outcome"), 60.0)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        shop.close()


async def test_a_version_with_more_refunds_is_rolled_back(scene: MakeScene, real_prometheus: MakePrometheus) -> None:
    rollout = await outcome(scene, real_prometheus, 0.15)
    assert rollout.state == resources_pb2.ROLLOUT_STATE_ROLLED_BACK, rollout.outcome.reason
    assert rollout.outcome.gate == "refunds"
    assert " of v2 were bad and " in rollout.outcome.reason


async def test_a_version_with_as_many_is_promoted(scene: MakeScene, real_prometheus: MakePrometheus) -> None:
    rollout = await outcome(scene, real_prometheus, 0.05)
    assert rollout.state == resources_pb2.ROLLOUT_STATE_PROMOTED, rollout.outcome.reason


async def test_without_a_prometheus_server_it_waits_and_says_so(scene: MakeScene) -> None:
    made = await scene(quick_terms(3000, gates=GATES, period=60.0))
    await made.evaluate()
    await made.publish()
    await made.until(lambda rollout: rollout.state == resources_pb2.ROLLOUT_STATE_RUNNING)
    await made.until(lambda rollout: rollout.analysis_sequence > 12)
    assert any("set CROSSFADE_EVALUATOR_PROMETHEUS" in hold for hold in (await made.looks())[-1].summary.holds)
    assert not (await made.rollout()).HasField("outcome")
