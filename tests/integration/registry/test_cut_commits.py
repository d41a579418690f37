"""A thousand COMMITs cut, of everything that is written at a caller's request: each operation has one effect."""

from itertools import cycle, product
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from crossfade.common.v1 import analysis_pb2
from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.checker.clients import KINDS
from tests.integration.registry.harness import Registry, Start, new_id, plan, version
from tests.support.cutting import Proxy
from tests.support.rpcs import SAME_AGAIN

CUTS = 1_000
SEGMENT = "eu"
CHANGE_NOTHING = {
    "GetModel",
    "GetMonitor",
    "GetRollout",
    "GetVersion",
    "ListAnalyses",
    "ListEvents",
    "ListInstances",
    "ListModels",
    "ListRollouts",
    "ListVersions",
    "ListWebhooks",
    "WatchRoutes",
}
REPORT = "ReportInstance"
"""Processes do, under no request's id; see test_cut_upkeep.py."""


class Round:
    """The life of one model; each of its operations is cut at its COMMIT, and the Registry tries it again.

    Args:
        registry: whose database is behind the proxy.
        model: its id.
        cut: when, see Proxy.
        again: the caller asks again too, as one does who has not heard the answer; it must not make up for anything
            that the Registry has lost, so that others do not.

    Attributes:
        kinds: what was asked for.
    """

    def __init__(self, registry: Registry, proxy: Proxy, model: str, cut: str, *, again: bool) -> None:
        self._registry = registry
        self._proxy = proxy
        self._id = model
        self._name = f"models/{model}"
        self._cut = cut
        self._again = again
        self._worker = registry.worker(model)
        self.kinds: list[str] = []

    async def run(self) -> None:
        """From the model's creation on, through every kind of operation."""
        await self._operate("CreateModel", model_id=self._id)
        model = resources_pb2.Model(name=self._name, description="cut")
        await self._operate("UpdateModel", model=model)
        await self._publish()
        await self._worker.ready("v1")
        settings = resources_pb2.MonitorSettings(learn=Duration(seconds=60))
        await self._operate("SetMonitor", model=self._name, settings=settings)
        alert = resources_pb2.Alert(gate="errors", reason="9 % failed")
        monitor = resources_pb2.Monitor(model=self._name, version="v1", sequence=1, alerts=[alert])
        await self._operate("RecordMonitor", monitor=monitor)
        await self._operate("SetSegment", model=self._name, segment=SEGMENT, etag=(await self._model()).etag)
        await self._promoted()
        await self._operate("UndoLane", model=self._name, etag=await self._lane_etag(), force=True)
        await self._held_and_cancelled()
        await self._publish(rollout=plan(500))
        await self._move("RollbackRollout", 3)
        await self._publish(without_rollout=True)
        await self._operate("WithdrawVersion", name=self._version("v5"), etag=await self._lane_etag())
        await self._operate("DeleteSegment", model=self._name, segment=SEGMENT, etag=await self._lane_etag(SEGMENT))

    async def _promoted(self) -> None:
        spec = plan(500, 5000)
        spec.approval_required = True
        await self._publish(rollout=spec)
        await self._worker.ready("v1", "v2", control="v1")
        for kind in ("PauseRollout", "ResumeRollout"):
            await self._move(kind, 1)
        look = analysis_pb2.Analysis(rollout=f"{self._name}/rollouts/1", sequence=1, epoch=1)
        await self._operate("RecordAnalysis", analysis=look)
        await self._move("AdvanceRollout", 1, force=True)
        await self._move("ApproveRollout", 1)
        await self._move("PromoteRollout", 1, force=True)

    async def _held_and_cancelled(self) -> None:
        await self._publish(without_rollout=True)
        for ttl in (3600, 0):
            etag = await self._lane_etag()
            await self._operate("LoadVersion", name=self._version("v3"), ttl=Duration(seconds=ttl), etag=etag)
        etag = await self._lane_etag()
        await self._operate("StartRollout", version=self._version("v3"), rollout=plan(500), etag=etag)
        await self._move("CancelRollout", 2)

    async def _publish(self, **values: Any) -> None:
        await self._operate("PublishVersion", parent=self._name, version=version(), **values)

    async def _move(self, kind: str, number: int, **values: Any) -> None:
        rollout = await self._registry.rollout(number, self._id)
        await self._operate(kind, name=rollout.name, etag=rollout.etag, **values)

    async def _operate(self, kind: str, **values: Any) -> None:
        request_id = new_id()
        request = getattr(service_pb2, f"{kind}Request")(**values, request_id=request_id)
        ask = getattr(self._registry.stub, kind)
        self._proxy.arm(self._cut, request_id)
        answer = await ask(request)
        assert self._proxy.cuts == (1 if self._cut else 0), kind
        self._proxy.arm("")
        if self._again:
            assert await ask(request) == answer, kind
        self.kinds.append(kind)

    def _version(self, version_id: str) -> str:
        return f"{self._name}/versions/{version_id}"

    async def _model(self) -> resources_pb2.Model:
        return await self._registry.model(self._id)

    async def _lane_etag(self, segment: str = "") -> str:
        return next(lane.etag for lane in (await self._model()).lanes if lane.segment == segment)

    async def left(self) -> list[object]:
        """What it has left behind, whatever the model is called."""
        rollouts = [await self._registry.rollout(number, self._id) for number in (1, 2, 3)]
        seen = await self._registry.stub.GetMonitor(service_pb2.GetMonitorRequest(model=self._name))
        return [
            [(one.type, one.version, one.segment) for one in await self._registry.events(self._id)],
            [(one.state, one.step, one.analysis_sequence) for one in rollouts],
            (seen.sequence, [one.gate for one in seen.alerts]),
            await self._registry.states(self._id),
        ]


def test_every_call_that_changes_something_is_made() -> None:
    methods = service_pb2.DESCRIPTOR.services_by_name["RegistryService"].methods
    assert sorted(method.name for method in methods) == sorted((*KINDS, *CHANGE_NOTHING, *SAME_AGAIN, REPORT))


@pytest.mark.timeout(600)
async def test_a_thousand_commits_that_are_cut_have_one_effect_each(proxy: Proxy, start: Start, database: str) -> None:
    registry = await start(database=proxy.url(database))
    whole = Round(registry, proxy, "whole", "", again=False)
    await whole.run()
    assert sorted(set(whole.kinds)) == list(KINDS)
    expected = await whole.left()
    # Half of them before the database has the COMMIT, half after it has carried it out.
    for number, (cut, again) in enumerate(cycle(product(("before", "after"), (False, True)))):
        one = Round(registry, proxy, f"m{number}", cut, again=again)
        await one.run()
        assert await one.left() == expected
        if (number + 1) * len(whole.kinds) >= CUTS:
            break
