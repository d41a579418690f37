"""Whole rollouts through a Prometheus server that is down, stale, empty, or has what no process has counted.

Each fault hits what would mislead most: of a good version its successes, without which it would seem to fail, and of a
bad one its failures.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pytest

from evaluator.sources.prometheus_scrapes import OF_PROCESS
from evaluator.sources.prometheus_series import PrometheusError
from evaluator.verdict.decision import Action
from evaluator.window.counts import Series
from services.common.telemetry import catalog
from tests.fakes.metrics import Behaviour, Instance
from tests.fakes.prometheus import Change, FakePrometheus
from tests.unit.evaluator.scraped_world import Scraped, ScrapedWorld, made, whole_page
from tests.unit.evaluator.world import NAME

BEFORE = 8
"""Looks without the fault; the last of them are judged, and too few to conclude."""
LASTS, PAUSE = 8, 15.0
"""Looks with it, and the seconds between them: two minutes."""
LOOK, STILL = 2.0, 50.0
"""Seconds between two others; requests a second while nothing is judged, which saves time."""
AGAIN = {"job": "again", "instance": "again:9500"}
ATTEMPTS = catalog.ATTEMPT_DURATION.name


@dataclass
class Case:
    """A rollout that a fault befalls.

    Attributes:
        scene: all of it.
        source: what it is judged by.
        good: the version is no worse.
    """

    scene: ScrapedWorld
    source: Scraped
    good: bool

    def misleads(self, labels: Mapping[str, str]) -> bool:
        """Whether a series is of the test version's attempts that went well, or of those that failed."""
        return labels.get("version") == "v2" and labels.get("outcome") == ("ok" if self.good else "INTERNAL")

    def keep(self, change: Change) -> None:
        """Has the server keep something else of what stands on the pages."""

        def page(prometheus: FakePrometheus, one: Instance) -> None:
            prometheus.scrape(one.name, one.store.snapshot(), change=change)

        self.source.page = page

    def heal(self) -> None:
        """The fault is over."""
        self.source.page, self.source.scraping, self.source.cached = whole_page, True, False
        self.source.prometheus.failures.clear()

    def attempts(self) -> int:
        """At the test version, as the processes have counted them."""
        stores = (one.store for one in self.source.fleet.routers)
        found = (one for store in stores for one in store.snapshot() if one.metric is catalog.ATTEMPT_DURATION)
        return sum(sum(one.counts) for one in found if "v2" in one.attributes)

    def judged(self) -> int:
        """The same as they stand in the windows."""
        series: Iterator[Series] = (
            one for look in self.scene.ledger.looks for process in look.window for one in process.series
        )
        return sum(sum(one.counts) for one in series if one.metric == ATTEMPTS and one.values()["version"] == "v2")


def case(*, good: bool, period: float) -> Case:
    """A rollout that nothing has befallen; a bad version is good until something does.

    So nobody knows the series of its failures. Batches are of one size: fewer series.
    """
    test = Behaviour() if good else Behaviour(errors=0.0)
    scene, source, _ = made(period=period, rate=200.0, batch=1, test=test)
    return Case(scene, source, good)


def down(case: Case) -> None:
    case.source.prometheus.failures = [PrometheusError("it does not answer")] * 1_000


def half_an_answer(case: Case) -> None:
    """It says when processes were scraped, and nothing of their counts."""
    case.source.prometheus.failures = [None, PrometheusError("it is overloaded")] * 1_000


def scrapes_end(case: Case) -> None:
    case.source.scraping = False


def cached(case: Case) -> None:
    case.source.cached = True


def empty(case: Case) -> None:
    """Pages with nothing but what says whose they are."""
    case.keep(lambda name, _, count: count if name in OF_PROCESS else None)


def nan(case: Case) -> None:
    case.keep(lambda _, labels, count: math.nan if case.misleads(labels) else count)


def nan_everywhere(case: Case) -> None:
    case.keep(lambda _name, _labels, _count: math.nan)


def series_twice(case: Case) -> None:
    """A rule has given some of them one label more."""

    def page(prometheus: FakePrometheus, one: Instance) -> None:
        whole_page(prometheus, one)
        for labels, samples in list(prometheus.kept.items()):
            if prometheus.now in samples and case.misleads(dict(labels)):
                twin = tuple(sorted((*labels, ("exported_service_name", "x"))))
                prometheus.kept.setdefault(twin, {})[prometheus.now] = samples[prometheus.now]

    case.source.page = page


def targets_twice(case: Case) -> None:
    """Two jobs scrape each process."""

    def page(prometheus: FakePrometheus, one: Instance) -> None:
        whole_page(prometheus, one)
        prometheus.scrape(one.name, one.store.snapshot(), AGAIN)

    case.source.page = page


def reset_now_and_then(case: Case) -> None:
    """At each third scrape, and then it is as if it never had been."""

    def change(_name: str, labels: Mapping[str, str], count: float) -> float:
        third = round(case.scene.clock.now() / LOOK) % 3 == 0
        return 0.0 if third and case.misleads(labels) else count

    case.keep(change)


def reset(case: Case) -> None:
    """Everything counts from zero, until it is as if it never had."""
    known: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}

    def note(name: str, labels: Mapping[str, str], count: float) -> None:
        known[name, frozenset(labels.items())] = 0.0 if name in OF_PROCESS else count

    for one in case.source.fleet.instances:
        case.source.prometheus.scrape(one.name, one.store.snapshot(), change=note)
    case.keep(lambda name, labels, count: count - known.get((name, frozenset(labels.items())), 0.0))


HOLD = (down, half_an_answer, scrapes_end, cached, empty, nan, nan_everywhere, series_twice, reset)
GO_ON = (targets_twice, reset_now_and_then)
versions = pytest.mark.parametrize("good", [True, False], ids=["good", "bad"])


async def befall(one: Case, fault: Callable[[Case], None]) -> None:
    """The fault begins in the middle of the rollout."""
    await one.scene.looks(one.scene.evaluator(), BEFORE)
    assert not one.scene.ledger.acted
    assert one.judged() > 0
    if not one.good:
        one.source.fleet.test.errors = 0.1
    fault(one)


def check(one: Case) -> None:
    """A good version was promoted and a bad one rolled back, and no attempt was counted twice."""
    expected = (Action.PROMOTE, "") if one.good else (Action.ROLLBACK, "errors")
    assert [(each.action, each.gate) for each in one.scene.ledger.acted] == [expected]
    assert one.judged() <= one.attempts()


@versions
@pytest.mark.parametrize("fault", HOLD)
async def test_a_fault_holds_the_rollout_which_goes_on_when_it_is_over(
    fault: Callable[[Case], None], *, good: bool
) -> None:
    one = case(good=good, period=600.0)
    evaluator = one.scene.evaluator()
    await befall(one, fault)
    rate, one.source.fleet.rate = one.source.fleet.rate, STILL
    for _ in range(LASTS):
        one.scene.flow(PAUSE)
        await evaluator.look(NAME)
        assert not one.scene.ledger.acted
    assert one.scene.ledger.decisions[-1].holds
    one.heal()
    one.source.fleet.rate = rate
    await one.scene.looks(evaluator, 60)
    check(one)


@versions
@pytest.mark.parametrize("fault", HOLD)
async def test_a_fault_that_does_not_end_lets_the_period_end_and_concludes_nothing(
    fault: Callable[[Case], None], *, good: bool
) -> None:
    one = case(good=good, period=24.0)
    await befall(one, fault)
    one.source.fleet.rate = STILL
    await one.scene.looks(one.scene.evaluator(), 20)
    (acted,) = one.scene.ledger.acted
    assert (acted.action, acted.code) == (Action.CANCEL, "TOO_LITTLE_EVIDENCE"), acted.reason
    assert one.judged() <= one.attempts()


@versions
@pytest.mark.parametrize("fault", GO_ON)
async def test_what_can_be_told_from_counts_is_no_fault(fault: Callable[[Case], None], *, good: bool) -> None:
    one = case(good=good, period=600.0)
    await befall(one, fault)
    await one.scene.looks(one.scene.evaluator(), 90)
    check(one)
