"""Counts through a Prometheus server: what is evidence, what is none, and what is said then."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from evaluator.ports import ProcessView
from evaluator.sources.prometheus_series import PrometheusError
from evaluator.sources.prometheus_source import PrometheusSource
from evaluator.terms import Terms
from evaluator.window.counts import Counts
from evaluator.window.readings import Reading
from evaluator.window.windows import take
from services.common.telemetry import catalog
from services.common.telemetry.bounds import INFERENCE_BOUNDS
from services.common.telemetry.store import MetricStore
from tests.fakes.clock import ManualClock
from tests.fakes.metrics import Fleet, Instance
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


@pytest.fixture
def scene() -> Scene:
    clock = ManualClock(1_700_000_000.0)
    fleet = Fleet(TERMS, np.random.default_rng(11), rate=500.0, lag=0.2, now=clock.now(), share=3000)
    made = Scene(fleet, clock)
    made.run(5.0)
    return made


def why(reading: Reading) -> str:
    assert reading.series is None
    return reading.error


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


BAD = {"nan": math.nan, "inf": math.inf, "negative": -1.0, "fraction": 2.5, "huge": 2.0**60}


@pytest.mark.parametrize("value", BAD.values(), ids=BAD)
@pytest.mark.parametrize(
    "name",
    ["crossfade_attempt_duration_seconds_bucket", "crossfade_lane_input_count_total", "crossfade_feedback_count_total"],
)
async def test_counts_that_are_no_numbers_that_count_are_no_evidence(scene: Scene, name: str, value: float) -> None:
    scene.scrape(change=lambda sample, _, good: value if sample == name else good)
    readings = await scene.read()
    bad, good = ("worker-1", "router-1") if "input" in name else ("router-1", "worker-1")
    assert "which is no count: look for rules that rewrite series" in why(readings[bad])
    assert readings[good].series


async def test_a_histogram_without_a_sum_is_no_evidence(scene: Scene) -> None:
    name = "crossfade_inference_duration_seconds_sum"
    scene.scrape(change=lambda sample, _, good: None if sample == name else good)
    assert "has no sum" in why((await scene.read())["worker-1"])


@pytest.mark.parametrize("value", [math.nan, math.inf])
async def test_a_sum_that_is_no_number_loses_no_counts(scene: Scene, value: float) -> None:
    """A caller's two largest numbers made it so."""
    name = "crossfade_inference_duration_seconds_sum"
    scene.scrape(change=lambda sample, _, good: value if sample == name else good)
    assert (await scene.read())["worker-1"].series


@pytest.mark.parametrize("label", [repr(INFERENCE_BOUNDS[40]), repr(INFERENCE_BOUNDS[0]), "+Inf"])
async def test_a_histogram_that_lacks_a_bucket_is_no_evidence(scene: Scene, label: str) -> None:
    scene.scrape(change=lambda _, labels, value: None if labels.get("le") == label else value)
    assert "lacks 1 of its" in why((await scene.read())["worker-1"])


async def test_buckets_that_do_not_rise_are_no_evidence(scene: Scene) -> None:
    scene.scrape(change=lambda _, labels, value: 0.0 if labels.get("le") == "+Inf" else value)
    assert "do not rise" in why((await scene.read())["worker-1"])


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (lambda bound: f"{bound:.17g}", ""),
        (lambda bound: f"{bound:.3e}", "lacks"),
        (lambda bound: f"about {bound}", "which is no number"),
    ],
)
async def test_bounds_are_compared_as_numbers_and_exactly(scene: Scene, written: object, said: str) -> None:
    assert callable(written)
    scene.scrape()
    for labels, samples in list(scene.prometheus.kept.items()):
        at = dict(labels)
        if "le" in at and at["le"] != "+Inf":
            del scene.prometheus.kept[labels]
            scene.prometheus.kept[tuple(sorted({**at, "le": written(float(at["le"]))}.items()))] = samples
    reading = (await scene.read())["worker-1"]
    assert said in reading.error
    assert bool(reading.series) == (not said)


async def test_a_million_million_counts_are_read_exactly(scene: Scene) -> None:
    many = 10**12 + 1
    router = scene.fleet.routers[0]
    router.store.counter(catalog.FEEDBACK_COUNT, *LIVE, "", "1.1", "3", "7", "false").add(many)
    series = router.store.histogram(catalog.ATTEMPT_DURATION, *LIVE, "", "UNKNOWN", "9")
    series.counts[5] += many
    scene.scrape()
    reading = (await scene.read())["router-1"]
    assert reading == router.read(scene.clock.now(), TERMS)
    assert any(many in one.counts for one in reading.series or ())


async def test_other_segments_models_and_versions_are_left_out(scene: Scene) -> None:
    before = [one.read(scene.clock.now(), TERMS).series for one in scene.fleet.instances]
    store = scene.fleet.routers[0].store
    for model, version, lane in (("faces", "v2", ""), ("digits", "v3", ""), ("digits", "v3", "eu")):
        store.histogram(catalog.ATTEMPT_DURATION, model, version, "live", lane, "ok", "1").record(0.1)
    scene.scrape()
    assert [one.series for one in (await scene.read()).values()] == before
    store.histogram(catalog.ATTEMPT_DURATION, "digits", "v2", "live", "eu", "ok", "1").record(0.1)
    scene.wait(1.0)
    scene.scrape()
    # Its process answers these as well.
    others = [one for one in (await scene.read())["router-1"].series or () if one not in (before[0] or ())]
    assert [(one.metric, one.values(), one.counts) for one in others] == [
        ("elsewhere", {"epoch": "1", "segment": "eu", "version": "v2"}, (1,)),
    ]
    there = await scene.read(replace(TERMS, segment="eu"))
    attempts = [one for one in there["router-1"].series or () if one.metric == catalog.ATTEMPT_DURATION.name]
    assert [sum(one.counts) for one in attempts] == [1]


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
