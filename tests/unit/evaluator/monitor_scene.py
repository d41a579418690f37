"""A lane, its traffic and its monitor, with a Registry in memory."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from evaluator.monitor.service import Monitor
from evaluator.ports import (
    LaneView,
    MonitorRecord,
    MonitorView,
    ProcessView,
    SupersededError,
    VersionView,
)
from evaluator.rpc import proto_summary
from evaluator.terms import Terms
from evaluator.window.readings import Reading
from services.common.policy.records import Meaning
from services.common.telemetry.logs import make_log
from tests.fakes.clock import ManualClock
from tests.fakes.inputs import reference
from tests.fakes.metrics import CLASSES, Fleet
from tests.fakes.rollouts import demo_terms

LOG = make_log("evaluator", "critical")
NEW = MonitorView(False, False, 300.0, "", 0, 0.0, b"", ())


@dataclass
class Kept:
    """A Registry in memory, by the port."""

    clock: ManualClock
    lane: LaneView = field(default_factory=lambda: LaneView(1, 300.0, "v1", previous="v0", etag="e"))
    view: MonitorView = NEW
    records: list[MonitorRecord] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)
    refusal: Exception | None = None
    skew: float = 0.0
    problem: Exception | None = None
    """Of whoever looks at a lane."""
    listing: Exception | None = None
    """Of whoever asks for all lanes."""
    polls: int = 0

    async def lanes(self) -> Sequence[tuple[str, LaneView]]:
        self.polls += 1
        if self.listing is not None:
            raise self.listing
        return [("digits", self.lane)]

    async def version(self, model: str, version: str) -> VersionView:
        del model, version
        if self.problem is not None:
            raise self.problem
        return VersionView(Meaning("classification", CLASSES), reference("p1", 2))

    async def processes(self) -> Sequence[ProcessView]:
        return []

    async def monitor(self, model: str, segment: str) -> MonitorView:
        del model, segment
        return self.view

    async def record_monitor(self, model: str, segment: str, record: MonitorRecord) -> None:
        del model, segment
        # It goes as a message, as to the real one.
        proto_summary.to_proto(record.decision)
        if record.sequence != self.view.sequence + 1:
            raise SupersededError("taken")
        self.records.append(record)
        self.view = replace(
            self.view,
            version=record.version,
            sequence=record.sequence,
            record_time=self.clock.now() + self.skew,
            evidence=record.evidence,
            cursor=record.cursor,
        )

    async def undo(self, model: str, lane: LaneView, sequence: int, reason: str) -> None:
        if self.refusal is not None:
            raise self.refusal
        assert sequence == self.view.sequence
        self.undone.append(f"{model} {lane.previous}: {reason}")


@dataclass
class Source:
    """A fleet's counts."""

    fleet: Fleet
    away: set[str] = field(default_factory=set)
    ahead: float = 0.0
    """Seconds by which the Evaluator's clock is ahead of the fleet's."""

    def age(self, terms: Terms) -> float:
        del terms
        return 0.0

    async def read(self, processes: Sequence[ProcessView], terms: Terms, timeout: float) -> Sequence[Reading]:
        del processes, timeout
        found = [one.read(self.fleet.now + self.ahead, terms) for one in self.fleet.instances]
        away = {one.instance_id: replace(one, series=None, error="it did not answer") for one in found}
        return [away[one.instance_id] if one.instance_id in self.away else one for one in found]


@dataclass
class Scene:
    """A lane, its traffic and its monitor."""

    clock: ManualClock = field(default_factory=ManualClock)
    fleet: Fleet = field(init=False)
    kept: Kept = field(init=False)
    source: Source = field(init=False)
    monitor: Monitor = field(init=False)
    lines: io.StringIO = field(default_factory=io.StringIO)
    """What is said in errors."""

    def __post_init__(self) -> None:
        self.fleet = Fleet(demo_terms(), np.random.default_rng(5), rate=40.0)
        self.fleet.now = self.clock.now()
        self.kept = Kept(self.clock)
        self.source = Source(self.fleet)
        self.monitor = self.watching(self.kept)

    def watching(self, kept: Kept) -> Monitor:
        """A monitor of that Registry's lanes."""
        log = make_log("evaluator", "error", self.lines)
        return Monitor(kept, self.source, clock=self.clock, log=log, interval=30.0, scrape_seconds=2.0)

    def set_clock(self, seconds: float) -> None:
        """Sets the Evaluator's clock by so many seconds."""
        self.clock.set(seconds)
        self.source.ahead += seconds

    async def look(self, times: int = 1, seconds: float = 30.0) -> None:
        for _ in range(times):
            self.clock.advance(seconds)
            self.fleet.run(seconds)
            await self.monitor.look("digits", self.kept.lane)
