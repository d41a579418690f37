"""Counts through a Prometheus server: which are read exactly, and which are no evidence."""

import math
from dataclasses import replace

import pytest

from services.common.telemetry import catalog
from services.common.telemetry.bounds import INFERENCE_BOUNDS
from tests.unit.evaluator.prometheus_scene import LIVE, TERMS, Scene, why

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
