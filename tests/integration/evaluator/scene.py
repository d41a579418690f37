"""A lane under real traffic counts: a real Registry, and processes that count and hand out what they counted."""

import asyncio
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
import structlog
from google.protobuf import duration_pb2
from grpc import aio

from crossfade.common.v1 import analysis_pb2, model_pb2, policy_pb2
from crossfade.registry.v1 import resources_pb2, service_pb2, service_pb2_grpc
from evaluator.app import App
from evaluator.settings import EvaluatorSettings
from evaluator.terms import Profile, Terms
from services.common.policy.drafts import GateDraft
from services.common.policy.messages import plan_message, policy_message
from services.common.policy.records import Objective, PeriodEnd
from tests.fakes.metric_servers import MetricServer
from tests.fakes.metrics import Fleet, Instance
from tests.fakes.rollouts import DEMO_GATES, demo_plan, demo_policy, demo_terms

MODEL = "digits"
LIVE, CONTROL = model_pb2.TRAFFIC_LIVE, model_pb2.TRAFFIC_CONTROL
READY = resources_pb2.SERVING_STATE_READY
_TICK = 0.05
_OBJECTIVES = {
    Objective.NON_INFERIOR: policy_pb2.OBJECTIVE_UNSPECIFIED,
    Objective.SUPERIOR: policy_pb2.OBJECTIVE_SUPERIOR,
}


def quick_terms(
    *shares: int,
    period: float = 12.0,
    gates: tuple[GateDraft, ...] = DEMO_GATES,
    objective: Objective = Objective.NON_INFERIOR,
    stale_after: float = 1.0,
    alpha_promote: float = 0.05,
    period_end: PeriodEnd = PeriodEnd.INCONCLUSIVE,
) -> Terms:
    """Looks of a quarter of a second, for traffic of thousands a second."""
    policy = demo_policy(
        objective=objective,
        gates=gates,
        look_interval=0.25,
        settling=0.25,
        min_age=0.2,
        stale_after=stale_after,
        alpha_promote=alpha_promote,
        period_end=period_end,
    )
    return demo_terms(policy, demo_plan(*(shares or (1000, 5000)), period=period), features=3)


def _profile(profile: Profile | None) -> model_pb2.ReferenceProfile:
    assert profile is not None
    features = [
        model_pb2.FeatureProfile(feature=one.name, kind="numeric", edges=range(9), proportions=one.proportions)
        for one in profile.features
    ]
    return model_pb2.ReferenceProfile(profile_id=profile.profile_id, rows=profile.rows, features=features)


@dataclass
class Scene:
    """A lane, its traffic, and Evaluators that look at it.

    Attributes:
        goes_on: there is traffic after a promotion, too.
        approved: a version is promoted only once a person has agreed.
    """

    registry: str
    terms: Terms
    fleet: Fleet = field(init=False)
    servers: list[MetricServer] = field(default_factory=list)
    evaluators: list[App] = field(default_factory=list)
    serving: dict[tuple[str, int], resources_pb2.Serving] = field(default_factory=dict)
    goes_on: bool = False
    approved: bool = False
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    def __post_init__(self) -> None:
        router, worker = (Instance(str(uuid.uuid4()), worker=kind) for kind in (False, True))
        self.fleet = Fleet(
            self.terms, np.random.default_rng(7), rate=4000.0, lag=0.05, routers=(router,), workers=(worker,)
        )
        self.channel = aio.insecure_channel(self.registry)
        self.stub = service_pb2_grpc.RegistryServiceStub(self.channel)

    async def start(self) -> None:
        """Publishes v1, lets traffic flow, and publishes v2 under a rollout."""
        for instance in self.fleet.instances:
            server = MetricServer(instance)
            await server.start()
            self.servers.append(server)
        await self.stub.CreateModel(service_pb2.CreateModelRequest(model_id=MODEL, request_id=str(uuid.uuid4())))
        await self.publish_only(self.terms.stable_profile)
        self.ready("v1")
        await self.report()
        self._tasks = [asyncio.create_task(self._flow()), asyncio.create_task(self._renew())]

    async def publish(self, *, looked_at: bool = False) -> None:
        """Publishes v2, which the Worker has ready once the rollout was looked at, if it is looked at."""
        await self.publish_only(self.terms.test_profile)
        if self.evaluators or looked_at:
            await self.until(lambda rollout: rollout.analysis_sequence >= 1)
        await self.load()

    async def load(self) -> None:
        """Has the Worker say that v2 is ready, and v1's control."""
        self.ready("v2")
        self.ready("v1", CONTROL)
        await self.report()

    async def publish_only(self, profile: Profile | None) -> None:
        tensor = model_pb2.TensorSpec(name="x", datatype="FP32", shape=[-1, 4])
        scores = model_pb2.TensorSpec(name="scores", datatype="FP32", shape=[-1, 2])
        signature = model_pb2.Signature(inputs=[tensor], outputs=[scores], task="classification", classes=("3", "7"))
        artifact = model_pb2.Artifact(uri="file:///models/digits", digest="sha256:" + "a" * 64, size_bytes=10)
        version = resources_pb2.Version(artifact=artifact, signature=signature, profile=_profile(profile))
        policy = policy_message(self.terms.policy)
        if self.terms.policy.period_end is PeriodEnd.INCONCLUSIVE:
            # What most policies leave out.
            policy.ClearField("period_end")
        rollout = service_pb2.RolloutSpec(
            plan=plan_message(self.terms.plan),
            policy=policy,
            objective=_OBJECTIVES[self.terms.policy.objective],
            approval_required=self.approved,
        )
        await self.stub.PublishVersion(
            service_pb2.PublishVersionRequest(
                parent=f"models/{MODEL}", version=version, rollout=rollout, request_id=str(uuid.uuid4())
            )
        )

    async def approve(self) -> None:
        """Agrees to v2's promotion."""
        rollout = await self.rollout()
        request = service_pb2.ApproveRolloutRequest(
            name=rollout.name, etag=rollout.etag, reason="all was seen", request_id=str(uuid.uuid4())
        )
        await self.stub.ApproveRollout(request)

    def ready(
        self,
        version: str,
        traffic: "model_pb2.Traffic.ValueType" = LIVE,
        state: "resources_pb2.ServingState.ValueType" = READY,
        error_code: str = "",
    ) -> None:
        """What the Worker is to report of a version from now on."""
        self.serving[version, traffic] = resources_pb2.Serving(
            model=MODEL,
            version=version,
            traffic=traffic,
            address=f"127.0.0.1:{9000 + len(self.serving)}",
            state=state,
            error="out of memory" if error_code else "",
            error_code=error_code,
        )

    async def report(self) -> None:
        """Renews the leases of the Router and the Worker."""
        for server in self.servers:
            worker = server.instance.worker
            instance = resources_pb2.Instance(
                instance_id=server.instance.name,
                kind=resources_pb2.INSTANCE_KIND_WORKER if worker else resources_pb2.INSTANCE_KIND_ROUTER,
                address=server.address,
                serving=self.serving.values() if worker else (),
            )
            request = service_pb2.ReportInstanceRequest(instance=instance, ttl=duration_pb2.Duration(seconds=30))
            await self.stub.ReportInstance(request)

    async def evaluate(
        self,
        prometheus: str = "",
        monitor_seconds: float = 60.0,
        *,
        own_only: bool = False,
        registry: str = "",
        log: structlog.typing.FilteringBoundLogger | None = None,
    ) -> App:
        """Starts an Evaluator, which reads the processes itself or through a Prometheus server.

        Args:
            prometheus: the server's address; empty: none.
            monitor_seconds: time between two looks at a lane without a rollout.
            own_only: the server has the user's own metrics alone.
            registry: by which address it reaches the Registry; empty: the Registry's own.
            log: where its lines go.
        """
        settings = EvaluatorSettings(
            listen="127.0.0.1:0",
            registry=registry or self.registry,
            poll_seconds=0.1,
            drain_seconds=0.5,
            log_level="error",
            evaluator_prometheus=prometheus,
            evaluator_prometheus_own_only=own_only,
            monitor_seconds=monitor_seconds,
        )
        app = App(settings, log=log)
        self.evaluators.append(app)
        await app.start()
        return app

    async def rollout(self, number: int = 1) -> resources_pb2.Rollout:
        """Reads a rollout."""
        return await self.stub.GetRollout(service_pb2.GetRolloutRequest(name=f"models/{MODEL}/rollouts/{number}"))

    async def until(
        self, wanted: Callable[[resources_pb2.Rollout], bool], seconds: float = 30.0
    ) -> resources_pb2.Rollout:
        """Waits until the rollout is as wanted."""
        rollout = await self.rollout()
        async with asyncio.timeout(seconds):
            while not wanted(rollout):
                await asyncio.sleep(0.05)
                rollout = await self.rollout()
        return rollout

    async def events(self) -> list[resources_pb2.Event]:
        """The ledger, newest first."""
        request = service_pb2.ListEventsRequest(parent=f"models/{MODEL}")
        return list((await self.stub.ListEvents(request)).events)

    async def looks(self) -> list[analysis_pb2.Analysis]:
        """Every recorded look."""
        request = service_pb2.ListAnalysesRequest(parent=f"models/{MODEL}/rollouts/1", page_size=1000)
        return list((await self.stub.ListAnalyses(request)).analyses)

    async def stop(self) -> None:
        """Ends everything."""
        for app in self.evaluators:
            await app.stop()
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        for server in self.servers:
            await server.stop()
        await self.channel.close()

    async def _flow(self) -> None:
        """Counts as the routes in force say."""
        while True:
            await asyncio.sleep(_TICK)
            model = await self.stub.GetModel(service_pb2.GetModelRequest(name=f"models/{MODEL}"))
            lane = model.lanes[0]
            self.fleet.share, self.fleet.epoch = lane.test_share_bps, lane.epoch
            self.fleet.slice_seconds = lane.slice_seconds
            if lane.stable_version == "v2" and not self.goes_on:
                continue
            if self.goes_on:
                self.fleet.terms = self._stable_alone(lane.stable_version)
            now = time.time()
            passed = min(now - self.fleet.now, 1.0)
            self.fleet.now = now - passed
            self.fleet.run(passed, ticks=1)

    def _stable_alone(self, version: str) -> Terms:
        """Whose traffic the fleet counts, once there is no rollout any more."""
        profile = self.terms.test_profile if version == "v2" else self.terms.stable_profile
        return replace(self.terms, stable=version, stable_profile=profile)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            await self.report()


def attempts(counts: analysis_pb2.Counts, version: str) -> int:
    """Attempts at a version."""
    return sum(
        sum(series.counts)
        for instance in counts.instances
        for series in instance.series
        if series.metric == "crossfade.attempt.duration" and series.attributes["version"] == version
    )
