"""Looks at counts that come late, through a Prometheus server: whole rollouts, and what a wrong clock does to them."""

import pytest

from evaluator.ports import ProcessView
from evaluator.sources.prometheus_source import PrometheusSource
from evaluator.verdict.decision import Action
from tests.fakes.clock import ManualClock
from tests.fakes.metrics import Behaviour
from tests.fakes.prometheus import FakePrometheus
from tests.fakes.rollouts import demo_plan, demo_terms, trial
from tests.unit.evaluator.scraped_world import made
from tests.unit.evaluator.world import NAME


async def test_a_good_version_is_promoted() -> None:
    scene, _, _ = made()
    await scene.looks(scene.evaluator(), 80)
    assert [one.action for one in scene.ledger.acted] == [Action.PROMOTE]


async def test_a_failing_version_is_rolled_back() -> None:
    scene, _, _ = made(test=Behaviour(errors=0.05))
    await scene.looks(scene.evaluator(), 80)
    assert [(one.action, one.gate) for one in scene.ledger.acted] == [(Action.ROLLBACK, "errors")]


async def test_no_window_that_began_before_the_split_is_judged() -> None:
    scene, _, fleet = made(rate=20.0)
    evaluator = scene.evaluator()
    await scene.looks(evaluator, 10)
    before = len(scene.ledger.looks)
    scene.ledger.epoch = fleet.epoch = 2
    await scene.looks(evaluator, 10)
    after = scene.ledger.looks[before:]
    judged = [look.judged for look in after]
    # The first look's counts are of a second before it, and might have been of up to 10 s before.
    assert judged == [False] * 6 + [True] * 4
    assert "the split has just changed; counts are judged again in " in scene.ledger.decisions[before + 3].holds[0]


async def test_when_all_clocks_are_set_back_only_windows_that_began_after_the_split_are_judged() -> None:
    scene, _, fleet = made(rate=20.0)
    evaluator = scene.evaluator()
    await scene.looks(evaluator, 10)
    before = len(scene.ledger.looks)
    scene.ledger.epoch = fleet.epoch = 2
    await scene.looks(evaluator, 2)
    scene.clock.set(-300.0)
    fleet.now -= 300.0
    await scene.looks(evaluator, 10)
    # A look later than by a clock that is right, since the split was seen a second after the scrape.
    assert [look.judged for look in scene.ledger.looks[before:]] == [False] * 7 + [True] * 5


@pytest.mark.parametrize("ahead", [-300.0, 300.0])
@pytest.mark.parametrize("errors", [0.002, 0.3])
async def test_a_server_whose_clock_is_wrong_holds_the_rollout(ahead: float, errors: float) -> None:
    scene, source, _ = made(test=Behaviour(errors=errors))
    source.ahead = ahead
    await scene.looks(scene.evaluator(), 40)
    assert not scene.ledger.acted
    assert len(scene.ledger.looks) == 40
    assert "set the clocks of Prometheus and of the Evaluator (NTP)" in scene.ledger.decisions[-1].holds[0]


@pytest.mark.parametrize("ahead", [-300.0, 300.0])
async def test_a_clock_that_is_set_right_goes_on_where_it_was(ahead: float) -> None:
    scene, source, _ = made()
    evaluator = scene.evaluator()
    await scene.looks(evaluator, 3)
    source.ahead = ahead
    await scene.looks(evaluator, 8)
    assert not scene.ledger.acted
    source.ahead = 0.0
    await scene.looks(evaluator, 80)
    assert [one.action for one in scene.ledger.acted] == [Action.PROMOTE]


async def test_scrapes_that_end_hold_the_rollout() -> None:
    scene, source, fleet = made(period=60.0, rate=20.0)
    evaluator = scene.evaluator()
    await scene.looks(evaluator, 5)
    source.scraping, fleet.rate = False, 2000.0
    for _ in range(8):
        scene.flow()
        await evaluator.look(NAME)
    assert not scene.ledger.acted
    assert "Prometheus has not scraped it within 10 s" in scene.ledger.decisions[-1].holds[0]
    await scene.looks(evaluator, 60)
    assert [one.action for one in scene.ledger.acted] == [Action.CANCEL]


async def test_copies_are_read_as_the_processes_count_them() -> None:
    terms = demo_terms(plan=demo_plan(3000, 1000, shadow=1))
    made = trial(0, terms)
    made.run(2)
    clock, prometheus = ManualClock(made.fleet.now), FakePrometheus()
    prometheus.now = round(clock.now() * 1000)
    views = [ProcessView(one.name, "h:1", one.worker) for one in made.fleet.instances]
    for one in made.fleet.instances:
        prometheus.scrape(one.name, one.store.snapshot())
    readings = await PrometheusSource(prometheus, clock).read(views, terms, 5.0)
    direct = {one.name: one.read(made.fleet.now, terms).series for one in made.fleet.instances}
    assert {one.instance_id: one.series for one in readings} == direct
    traffic = {part.values().get("traffic", "") for series in direct.values() for part in series or ()}
    assert "shadow" in traffic
