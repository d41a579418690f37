"""An Evaluator whose counts come late, through a Prometheus server that scrapes between two looks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from evaluator.ports import ProcessView
from evaluator.sources.prometheus_source import PrometheusSource
from evaluator.terms import Terms
from evaluator.window.readings import Reading
from services.common.policy.drafts import PlanDraft, StepDraft
from tests.fakes.clock import ManualClock
from tests.fakes.metrics import Fleet, Instance
from tests.fakes.prometheus import FakePrometheus
from tests.unit.evaluator.world import DRAFT, Counters, World, world

STALE = 10.0
Page = Callable[[FakePrometheus, Instance], None]
"""How a scrape of one process becomes what the server keeps."""


def whole_page(prometheus: FakePrometheus, one: Instance) -> None:
    """As it stands there."""
    prometheus.scrape(one.name, one.store.snapshot())


@dataclass
class Scraped(Counters):
    """The fleet's counts, as a Prometheus has them that scrapes each 2 s, a second before the look.

    Attributes:
        clock: the Evaluator's.
        ahead: by how many seconds the server's clock is ahead of it.
        scraping: False: it scrapes no more.
        cached: something before the server answers as it did when this began.
        page: what it keeps of a process.
    """

    clock: ManualClock = field(default_factory=ManualClock)
    prometheus: FakePrometheus = field(default_factory=FakePrometheus)
    ahead: float = 0.0
    scraping: bool = True
    cached: bool = False
    page: Page = whole_page

    def age(self, terms: Terms) -> float:
        return self._source.age(terms)

    async def read(self, processes: Sequence[ProcessView], terms: Terms, timeout: float) -> Sequence[Reading]:
        if not self.cached:
            self.prometheus.now = round((self.clock.now() + self.ahead) * 1000)
        return await self._source.read(processes, terms, timeout)

    def scrape(self) -> None:
        """Scrapes every page, if it still does."""
        if self.cached or not self.scraping:
            return
        self.prometheus.now = round((self.clock.now() + self.ahead) * 1000)
        for one in self.fleet.instances:
            self.page(self.prometheus, one)

    @property
    def _source(self) -> PrometheusSource:
        return PrometheusSource(self.prometheus, self.clock)


class ScrapedWorld(World):
    """A scrape in the middle of the time between two looks."""

    def flow(self, seconds: float = 2.0) -> None:
        super().flow(seconds / 2)
        assert isinstance(self.source, Scraped)
        self.source.scrape()
        super().flow(seconds / 2)


def made(period: float = 120.0, **fleet: object) -> tuple[ScrapedWorld, Scraped, Fleet]:
    """A rollout of one step of 50 % that begins now; `fleet`: its attributes by name."""
    policy = replace(DRAFT, stale_after=STALE)
    base = world(policy=policy, plan=PlanDraft((StepDraft(5000, period=period),)))
    for name, value in fleet.items():
        setattr(base.source.fleet, name, value)
    source = Scraped(base.source.fleet, clock=base.clock)
    return ScrapedWorld(base.ledger, source, base.clock, base.spans), source, source.fleet
