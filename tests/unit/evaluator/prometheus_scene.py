"""A fleet of processes, and a Prometheus that scrapes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from evaluator.ports import ProcessView
from evaluator.sources.prometheus_source import PrometheusSource
from evaluator.terms import Terms
from evaluator.window.readings import Reading
from tests.fakes.clock import ManualClock
from tests.fakes.metrics import Fleet
from tests.fakes.prometheus import Change, FakePrometheus
from tests.fakes.rollouts import demo_policy, demo_terms

TERMS = demo_terms(demo_policy(stale_after=60.0))
LIVE = ("digits", "v2", "live")


@dataclass
class Scene:
    """A fleet, and a Prometheus that scrapes it.

    Attributes:
        ahead: by how many seconds the server's clock is ahead of the Evaluator's.
    """

    fleet: Fleet
    clock: ManualClock
    prometheus: FakePrometheus = field(default_factory=FakePrometheus)
    ahead: float = 0.0

    def run(self, seconds: float) -> None:
        """Lets traffic flow."""
        self.fleet.run(seconds)
        self.wait(seconds)

    def wait(self, seconds: float) -> None:
        """Lets time pass."""
        self.clock.advance(seconds)
        self.prometheus.now = round((self.clock.now() + self.ahead) * 1000)

    def scrape(
        self, *names: str, target: Mapping[str, str] | None = None, change: Change = lambda _n, _l, value: value
    ) -> None:
        """Scrapes some processes, or all."""
        self.prometheus.now = round((self.clock.now() + self.ahead) * 1000)
        for one in self.fleet.instances:
            if not names or one.name in names:
                self.prometheus.scrape(one.name, one.store.snapshot(), target, change)

    @property
    def processes(self) -> list[ProcessView]:
        """All of them."""
        return [ProcessView(one.name, "", one.worker) for one in self.fleet.instances]

    async def read(self, terms: Terms = TERMS, *others: str) -> dict[str, Reading]:
        """Reads them all."""
        processes = [*self.processes, *(ProcessView(name, "", worker=False) for name in others)]
        readings = await PrometheusSource(self.prometheus, self.clock).read(processes, terms, 2.0)
        assert len(readings) == len(processes)
        return {one.instance_id: one for one in readings}


def why(reading: Reading) -> str:
    assert reading.series is None
    return reading.error
