"""Processes read through a Prometheus server: what is asked, and which scrapes are evidence."""

import math
from dataclasses import replace

import numpy as np
import pytest

from evaluator.sources.prometheus_series import PrometheusError
from evaluator.sources.prometheus_source import PrometheusSource
from services.common.telemetry import catalog
from services.common.telemetry.store import MetricStore
from tests.fakes.clock import ManualClock
from tests.fakes.metrics import Fleet, Instance
from tests.unit.evaluator.prometheus_scene import TERMS, Scene, why


async def test_it_reads_what_the_processes_say_at_the_time_of_the_scrape(scene: Scene) -> None:
    for _ in range(4):
        scene.scrape()
        straight = [one.read(scene.clock.now(), TERMS) for one in scene.fleet.instances]
        scene.wait(3.0)
        through = await scene.read()
        assert list(through.values()) == straight
        assert all(one.series for one in through.values())
        scene.run(4.0)


@pytest.mark.parametrize(("sticky", "questions"), [(True, 2), (False, 3)], ids=["twice", "of other lanes, too"])
async def test_a_look_asks_twice_however_many_series_there_are(scene: Scene, sticky: bool, questions: int) -> None:
    scene.scrape()
    readings = await scene.read(replace(TERMS, sticky=sticky))
    assert sum(len(one.series or ()) for one in readings.values()) > 20
    assert len(scene.prometheus.asked) == questions


async def test_many_processes_are_asked_for_four_at_a_time() -> None:
    workers = tuple(Instance(f"worker-{number}", worker=True) for number in range(19))
    clock = ManualClock(1_700_000_000.0)
    made = Scene(Fleet(TERMS, np.random.default_rng(1), now=clock.now(), workers=workers), clock)
    made.run(2.0)
    for one in made.fleet.instances:
        made.wait(0.7)
        made.scrape(one.name)
    made.prometheus.failures = [None, None, None, PrometheusError("it is too busy")]
    readings = await made.read()
    assert len(made.prometheus.asked) == 7
    # What has failed is one question's, and each covers little more than its own scrapes.
    assert sum(one.series is None for one in readings.values()) == 4
    assert {one.error for one in readings.values() if one.series is None} == {"it is too busy"}
    assert all(asked.span <= 3 * 700 + 1 for asked in made.prometheus.asked[2:])


async def test_without_processes_nothing_is_asked(scene: Scene) -> None:
    assert await PrometheusSource(scene.prometheus, scene.clock).read((), TERMS, 2.0) == ()
    assert not scene.prometheus.asked


async def test_a_process_that_counts_nothing_of_the_model_is_read_and_empty(scene: Scene) -> None:
    scene.scrape()
    scene.prometheus.scrape("router-2", ())
    assert (await scene.read(TERMS, "router-2"))["router-2"].series == ()


async def test_a_process_that_is_not_scraped_says_what_to_do(scene: Scene) -> None:
    scene.scrape()
    readings = await scene.read(TERMS, "router-2")
    assert why(readings["router-2"]) == (
        "Prometheus has not scraped it within 60 s: make its metrics page (CROSSFADE_METRICS_LISTEN) a target, and see "
        "on Prometheus's page of targets whether it is up"
    )
    assert readings["router-1"].series


async def test_a_scrape_of_minutes_ago_is_no_evidence(scene: Scene) -> None:
    scene.scrape()
    scene.wait(59.0)
    assert (await scene.read())["worker-1"].series
    scene.wait(120.0)
    scene.scrape("router-1")
    readings = await scene.read()
    assert "has not scraped it within 60 s" in why(readings["worker-1"])
    assert readings["router-1"].series


async def test_no_answer_is_no_evidence_of_any_process(scene: Scene) -> None:
    scene.scrape()
    scene.prometheus.failures = [PrometheusError("Prometheus is away")]
    assert {why(one) for one in (await scene.read()).values()} == {"Prometheus is away"}
    for number in (1, 2):
        scene.prometheus.failures = [*(None for _ in range(number)), PrometheusError("Prometheus is away")]
        assert {why(one) for one in (await scene.read()).values()} == {"Prometheus is away"}


async def test_a_series_that_is_late_gives_the_newest_scrape_that_has_all(scene: Scene) -> None:
    scene.scrape()
    first = scene.clock.now()
    earlier = [one.read(first, TERMS) for one in scene.fleet.instances]
    scene.run(5.0)
    scene.scrape(change=lambda _, labels, value: None if labels.get("outcome") == "ok" else value)
    readings = await scene.read()
    assert readings["router-1"] == earlier[0]
    assert readings["worker-1"].read_us == round(scene.clock.now() * 1e6)


async def test_a_series_that_stays_away_is_gone_after_three_scrapes(scene: Scene) -> None:
    scene.scrape()
    seen = []
    for _ in range(3):
        scene.run(5.0)
        scene.scrape(change=lambda _, labels, value: None if labels.get("outcome", "ok") != "ok" else value)
        seen.append(scene.clock.now() - (await scene.read())["router-1"].read_us / 1e6)
    assert [round(one) for one in seen] == [5, 10, 0]


async def test_epochs_and_slices_that_processes_drop_are_not_waited_for(scene: Scene) -> None:
    scene.scrape()
    scene.fleet.epoch = 5
    scene.run(5.0)
    for one in scene.fleet.instances:
        one.store.drop(lambda _, at: at.get("epoch", "5") != "5" or not at.get("slice", "5.").startswith("5."))
    scene.scrape()
    readings = await scene.read()
    assert {one.read_us for one in readings.values()} == {round(scene.clock.now() * 1e6)}


def drop_slices(store: MetricStore, old: set[str]) -> None:
    store.drop(lambda metric, at: metric is catalog.PREDICTION_COUNT and at["slice"] in old)


async def test_slices_of_the_epoch_before_which_go_one_by_one_are_not_waited_for(scene: Scene) -> None:
    """Of a Worker the oldest of sixteen slices goes when one more comes, whichever epoch it is of."""
    for one in scene.fleet.instances:
        one.store = MetricStore()
    scene.fleet.epoch = 2
    scene.fleet.slice_seconds = 5.0
    kept: list[str] = []
    for number in range(1, 40):
        scene.fleet.epoch = 2 if number <= 20 else 3
        scene.fleet.run(5.0, ticks=1)
        scene.wait(5.0)
        store = scene.fleet.workers[0].store
        kept.append(f"{scene.fleet.epoch}.{math.floor(scene.fleet.now / 5.0)}")
        drop_slices(store, set(kept[:-16]))
        scene.scrape()
        assert (await scene.read())["worker-1"].read_us == round(scene.clock.now() * 1e6)


@pytest.mark.parametrize(
    ("ahead", "said"), [(300.0, "lies 5 min in the future"), (-300.0, "is 5 min old, and younger than 60 s by")]
)
async def test_a_clock_that_is_wrong_is_named_and_gives_no_evidence(scene: Scene, ahead: float, said: str) -> None:
    scene.ahead = ahead
    scene.scrape()
    for one in (await scene.read()).values():
        assert said in why(one)
        assert "(NTP)" in one.error
    scene.ahead = math.copysign(3.0, ahead)
    scene.wait(60.0)
    scene.scrape()
    assert all(one.series for one in (await scene.read()).values())
