"""An Evaluator and all that is around it, in memory: a Registry, a source of counts, a clock."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import structlog
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from crossfade.common.v1 import analysis_pb2
from evaluator.evidence.state import Look
from evaluator.meters import Meters
from evaluator.ports import (
    LaneView,
    ProcessView,
    Recorded,
    RolloutView,
    SupersededError,
    VersionView,
)
from evaluator.rollouts.service import Evaluator
from evaluator.rollouts.spans import Spans
from evaluator.rpc import proto_counts, proto_views
from evaluator.terms import Terms
from evaluator.verdict.concluded import Concluded
from evaluator.verdict.decision import Decision, Phase
from evaluator.verdict.readiness import Served, Serving
from evaluator.window.counts import Counts
from evaluator.window.readings import Reading
from services.common.policy.drafts import PlanDraft, PolicyDraft, StepDraft
from services.common.policy.records import Meaning
from services.common.telemetry.store import MetricStore
from tests.fakes.clock import ManualClock
from tests.fakes.inputs import reference
from tests.fakes.metrics import Fleet
from tests.fakes.rollouts import DEMO_GATES, demo_terms

NAME = "models/digits/rollouts/1"
DRAFT = PolicyDraft(gates=DEMO_GATES, look_interval=2.0, settling=2.0, min_age=1.0)


@dataclass
class Ledger:
    """A Registry in memory, by the port. What it gives is what it has as messages, as the real one."""

    view: RolloutView
    epoch: int = 1
    stable: str = "v1"
    previous: str = ""
    serving: Serving | None = Serving.READY
    looks: list[Look] = field(default_factory=list)
    analyses: list[bytes] = field(default_factory=list)
    cursor: Counts = ()
    decisions: list[Decision] = field(default_factory=list)
    acted: list[Decision] = field(default_factory=list)
    refusal: Exception | None = None

    async def live_rollouts(self) -> Sequence[RolloutView]:
        return [self.view]

    async def rollout(self, name: str) -> RolloutView:
        return self.view

    async def lane(self, model: str, segment: str) -> LaneView:
        return LaneView(self.epoch, 5.0, self.stable, previous=self.previous)

    async def version(self, model: str, version: str) -> VersionView:
        return VersionView(Meaning("classification"), reference({"v1": "p1", "v2": "p2"}[version], 2))

    async def recorded(self, name: str, after: int) -> AsyncIterator[Recorded]:
        for number in range(after, len(self.analyses), 3):
            page = [analysis_pb2.Analysis.FromString(one) for one in self.analyses[number : number + 3]]
            yield Recorded(tuple(map(proto_views.look, page)), proto_counts.from_proto(page[-1].cursor))

    async def concluded(self, name: str) -> AsyncIterator[Concluded]:
        for one in self.analyses:
            yield proto_views.concluded(analysis_pb2.Analysis.FromString(one))

    async def processes(self) -> Sequence[ProcessView]:
        if self.serving is None:
            return []
        error_code = "LOAD_FAILED" if self.serving is Serving.FAILED else ""
        served = tuple(
            ("digits", Served(version, False, self.serving, error_code=error_code)) for version in ("v1", "v2")
        )
        return [ProcessView("router-1", "r:1", False), ProcessView("worker-1", "w:1", True, served)]

    async def record(self, name: str, look: Look, policy_hash: str, cursor: Counts, decision: Decision) -> None:
        if look.sequence != len(self.looks) + 1:
            raise SupersededError("taken")
        analysis = proto_views.analysis(name, look, policy_hash, cursor, decision)
        # Who goes on from memory and who goes on from this must conclude the same.
        assert proto_views.look(analysis) == look
        self.looks.append(look)
        self.analyses.append(analysis.SerializeToString())
        self.cursor = cursor
        self.decisions.append(decision)
        self.view = replace(self.view, sequence=look.sequence)

    async def act(self, rollout: RolloutView, sequence: int, decision: Decision) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.acted.append(decision)


@dataclass
class Counters:
    """A source of the fleet's counts."""

    fleet: Fleet
    silent: frozenset[str] = frozenset()
    late: float = 0.0
    ahead: float = 0.0
    """Seconds by which the Evaluator's clock is ahead of the fleet's."""

    def age(self, terms: Terms) -> float:
        return self.late

    async def read(self, processes: Sequence[ProcessView], terms: Terms, timeout: float) -> Sequence[Reading]:
        return [
            Reading(one.name, round((self.fleet.now + self.ahead) * 1e6), None, "it did not answer in time")
            if one.name in self.silent
            else one.read(self.fleet.now + self.ahead, terms)
            for one in self.fleet.instances
        ]


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Noted:
    """A Router that kept one trace."""

    async def of(self, processes: Sequence[ProcessView], terms: Terms) -> tuple[str, ...]:
        del processes
        del terms
        return (TRACE, "no trace id")


@dataclass
class World:
    """Everything around an Evaluator."""

    ledger: Ledger
    source: Counters
    clock: ManualClock
    spans: InMemorySpanExporter

    def evaluator(self) -> Evaluator:
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.spans))
        return Evaluator(
            self.ledger,
            self.source,
            clock=self.clock,
            spans=Spans(provider.get_tracer("test")),
            traces=Noted(),
            meters=Meters(MetricStore()),
            log=structlog.wrap_logger(
                structlog.ReturnLogger(), wrapper_class=structlog.make_filtering_bound_logger(50)
            ),
            scrape_seconds=2.0,
        )

    def flow(self, seconds: float = 2.0) -> None:
        self.clock.advance(seconds)
        self.source.fleet.run(seconds)

    def set_clock(self, seconds: float) -> None:
        """Sets the Evaluator's clock by so many seconds."""
        self.clock.set(seconds)
        self.source.ahead += seconds

    async def looks(self, evaluator: Evaluator, count: int) -> None:
        """Looks until something is done, `count` times at most."""
        for _ in range(count):
            self.flow()
            await evaluator.look(NAME)
            if self.ledger.acted:
                return


def world(**changes: object) -> World:
    # No clock stops at whole microseconds.
    clock = ManualClock(1_000_000.000_000_4)
    fleet = Fleet(demo_terms(), np.random.default_rng(3), now=clock.now(), share=5000, epoch=1, slice_seconds=5.0)
    view = RolloutView(
        name=NAME,
        model="digits",
        segment="",
        test="v2",
        stable="v1",
        phase=Phase.RUNNING,
        step=0,
        step_start=clock.now(),
        step_paused=0.0,
        pause_start=0.0,
        sticky=False,
        policy=DRAFT,
        plan=PlanDraft((StepDraft(5000, period=60.0),)),
        sequence=0,
        etag="e",
    )
    return World(Ledger(replace(view, **changes)), Counters(fleet), clock, InMemorySpanExporter())  # type: ignore[arg-type] # fields by name
