"""Processes that start anew, and their targets at a Prometheus server."""

import pytest

from evaluator.window.counts import Counts
from evaluator.window.windows import take
from services.common.telemetry import catalog
from services.common.telemetry.store import MetricStore
from tests.fakes.metrics import Instance
from tests.unit.evaluator.prometheus_scene import LIVE, TERMS, Scene, why


async def windows(scene: Scene, cursor: Counts, *, first: bool = False) -> tuple[dict[str, int], Counts, list[str]]:
    """Counted attempts by process, the next cursor, and the problems."""
    taken = take(cursor, list((await scene.read()).values()), first=first)
    counted = {
        one.instance_id: sum(sum(each.counts) for each in one.series if each.metric == catalog.ATTEMPT_DURATION.name)
        for one in taken.window
    }
    return counted, taken.cursor, [problem.reason for problem in taken.problems]


def attempts(scene: Scene) -> int:
    store = scene.fleet.routers[0].store
    return sum(sum(one.counts) for one in store.snapshot() if one.metric is catalog.ATTEMPT_DURATION)


async def test_a_process_that_starts_anew_counts_from_zero_at_the_same_address(scene: Scene) -> None:
    address = {"job": "crossfade", "instance": "router.example:9500"}
    scene.scrape("worker-1")
    scene.scrape("router-1", target=address)
    _, cursor, _ = await windows(scene, (), first=True)
    scene.fleet.routers = (Instance("router-2", worker=False),)
    scene.run(2.0)
    scene.scrape("worker-1")
    scene.scrape("router-2", target=address)
    counted, _, problems = await windows(scene, cursor)
    assert not problems
    assert counted["router-2"] == attempts(scene) > 0


@pytest.mark.parametrize("off", [0.0, -3_600.0], ids=["as the server's", "an hour behind"])
async def test_a_process_and_its_series_began_by_the_servers_clock_whatever_their_own_shows(
    scene: Scene, off: float
) -> None:
    now = scene.clock.now()
    times = [now + off, now + off + 40.0]
    store = MetricStore(lambda: round(times[0] * 1e9))
    scene.fleet.workers = (Instance("worker-1", worker=True, store=store),)
    scene.prometheus.started_ns = round((now + off - 7.0) * 1e9)
    scene.run(5.0)
    times.pop(0)
    store.histogram(catalog.INFERENCE_DURATION, *LIVE, "8", "fp32").record(0.01)
    scene.wait(45.0)
    scene.prometheus.own_ns = round((scene.clock.now() + off) * 1e9)
    scene.scrape()
    reading = (await scene.read())["worker-1"]
    assert reading.started_us == pytest.approx((now - 7.0) * 1e6, abs=10)
    of_batches = {dict(one.attributes)["batch"]: one.key for one in reading.series or () if "batch" in one.key[1][0]}
    begun = {batch: reading.begun_us[key] / 1e6 - now for batch, key in of_batches.items()}
    assert begun == pytest.approx({"1": 0.0, "2": 0.0, "4": 0.0, "8": 40.0}, abs=1e-4)
    # Of what a process says nothing of its own clock is known.
    scene.prometheus.started_ns = 0
    scene.scrape()
    assert (await scene.read())["worker-1"].started_us == 0


async def test_a_process_that_ran_unseen_has_a_history_and_a_new_one_has_none(scene: Scene) -> None:
    scene.prometheus.started_ns = round((scene.clock.now() - 100.0) * 1e9)
    scene.scrape("router-1")
    taken = take((), [(await scene.read())["router-1"]], first=True)
    before = scene.clock.now()
    scene.run(5.0)
    for started, counts in ((before - 1.0, False), (before + 1.0, True)):
        scene.prometheus.started_ns = round(started * 1e9)
        scene.wait(0.1)
        scene.scrape("worker-1")
        second = take(taken.cursor, list((await scene.read()).values()), first=False)
        inputs = [each for one in second.window for each in one.series if each.metric == catalog.INPUT_COUNT.name]
        assert bool(inputs) == counts


async def test_counters_that_go_back_under_one_id_are_a_problem_that_lasts(scene: Scene) -> None:
    scene.scrape()
    _, cursor, _ = await windows(scene, (), first=True)
    scene.fleet.routers[0].store = MetricStore()
    # What is missing all at once may be late at first.
    for _ in range(3):
        scene.run(0.3)
        scene.scrape()
    taken = take(cursor, list((await scene.read()).values()), first=False)
    assert [(one.instance_id, one.lasting) for one in taken.problems] == [("router-1", True)]
    assert "went backwards" in taken.problems[0].reason


async def test_a_process_with_two_targets_is_counted_once(scene: Scene) -> None:
    replicas = [{"job": "crossfade", "instance": "r:9500", "replica": name} for name in ("a", "b")]
    scene.scrape(target=replicas[0])
    scene.wait(1.0)
    scene.scrape(target=replicas[1])
    _, cursor, problems = await windows(scene, (), first=True)
    assert not problems
    start, total = attempts(scene), 0
    # The first one's scrapes end, and begin again.
    for alive in ((0, 1), (1,), (1,), (1,), (1,), (1,), (0, 1)):
        scene.run(8.0)
        for number in alive:
            scene.scrape(target=replicas[number])
        counted, cursor, problems = await windows(scene, cursor)
        assert not problems
        total += counted["router-1"]
    assert total == attempts(scene) - start > 0


async def test_targets_that_differ_in_nothing_are_told_apart_by_the_page(scene: Scene) -> None:
    alike = {"job": "crossfade"}
    for name in ("router-1", "worker-1"):
        scene.wait(0.1)
        scene.scrape(name, target=alike)
    readings = await scene.read()
    for process in scene.fleet.instances:
        assert readings[process.name].series == process.read(0.0, TERMS).series


@pytest.mark.parametrize("label", ["model", "version", "le"])
async def test_a_target_whose_label_hides_ours_is_no_evidence(scene: Scene, label: str) -> None:
    scene.scrape(target={"job": "crossfade", label: "v2"})
    expected = f"its target has a label {label} of its own, which hides that of the counts: rename it"
    assert all(why(one).startswith(expected) for one in (await scene.read()).values())


async def test_other_labels_of_a_target_do_no_harm(scene: Scene) -> None:
    scene.scrape(target={"job": "crossfade", "instance": "x", "service": "router", "service_name": "r", "zone": "eu"})
    assert all(one.series for one in (await scene.read()).values())


async def test_a_release_on_the_process_itself_does_no_harm(scene: Scene) -> None:
    """A page of a later release may say it there."""
    scene.scrape()
    for labels in [one for one in scene.prometheus.kept if ("__name__", "target_info") in one]:
        scene.prometheus.kept[(*labels, ("service_version", "9"))] = scene.prometheus.kept.pop(labels)
    assert all(one.series for one in (await scene.read()).values())


async def test_two_series_that_differ_in_nothing_are_no_evidence(scene: Scene) -> None:
    scene.scrape()
    name = "crossfade_feedback_count_total"
    labels, samples = next(one for one in scene.prometheus.kept.items() if ("__name__", name) in one[0])
    scene.prometheus.kept[(*labels, ("exported_service_name", "x"))] = samples
    assert "two series of crossfade_feedback_count that differ in nothing" in why((await scene.read())["router-1"])


async def test_a_label_that_a_rule_gives_to_some_series_alone_hides_no_failure(scene: Scene) -> None:
    """They would be those of another target, and a version that fails would be one that does not."""
    scene.fleet.test.errors = 0.5
    scene.run(8.0)
    scene.scrape()
    for labels in [one for one in scene.prometheus.kept if ("outcome", "INTERNAL") in one]:
        scene.prometheus.kept[(*labels, ("severity", "page"))] = scene.prometheus.kept.pop(labels)
    readings = await scene.read()
    expected = "some of its series differ from its target_info in the labels severity: look for rules"
    assert why(readings["router-1"]).startswith(expected)
    assert readings["worker-1"].series


async def test_series_that_another_target_had_at_other_times_are_left_to_it(scene: Scene) -> None:
    scene.scrape(target={"job": "old", "instance": "r:9500"})
    # Its target_info is over, and its counts are not yet.
    for labels in [one for one in scene.prometheus.kept if ("__name__", "target_info") in one]:
        del scene.prometheus.kept[labels]
    scene.run(8.0)
    scene.scrape()
    assert all(one.series for one in (await scene.read()).values())
