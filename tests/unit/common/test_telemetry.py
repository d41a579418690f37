"""Counting, and the way of the counts through OTLP."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from opentelemetry.proto.metrics.v1 import metrics_pb2

from services.common.telemetry import catalog, otlp, prometheus
from services.common.telemetry.bounds import CALL_BOUNDS, INFERENCE_BOUNDS
from services.common.telemetry.otlp import Resource
from services.common.telemetry.store import MetricStore, Snapshot, merge

RESOURCE = Resource("crossfade-worker", "instance-1", 1_700_000_000_000_000_000, "7.0.0")


BEGUN = 1_700_000_000_500_000_000


def filled(begun: int = BEGUN) -> MetricStore:
    store = MetricStore(lambda: begun)
    histogram = store.histogram(catalog.INFERENCE_DURATION, "churn", "v1", "live", "1", "fp32")
    for value in (40e-6, 50e-6, 51e-6, 0.003, 99.0):
        histogram.record(value)
    store.counter(catalog.FEEDBACK_COUNT, "churn", "v1", "live", "", "3.1", "keep", "keep", "true").add(5)
    store.spread(catalog.INPUT_COUNT, ("0", "1", "2"), "churn", "v1", "live", "", "age", "p1").add([3, 0, 4])
    store.gauge(catalog.ROUTE_SHARE, "churn", "v1", "stable", "").set(9_500)
    return store


def test_bounds_are_geometric() -> None:
    bounds = INFERENCE_BOUNDS
    assert bounds[0] == 50e-6
    assert bounds[-2] < 10.0 <= bounds[-1] * (1 + 1e-9)
    assert np.allclose(np.diff(np.log2(bounds)), 1 / 8)
    assert np.allclose(np.diff(np.log2(CALL_BOUNDS)), 1 / 4)


def test_a_value_at_a_bound_belongs_below_it() -> None:
    (snapshot,) = [one for one in filled().snapshot() if one.metric is catalog.INFERENCE_DURATION]
    assert snapshot.counts[0] == 2
    assert snapshot.counts[1] == 1
    assert snapshot.counts[-1] == 1
    assert snapshot.total == pytest.approx(99.003141)


def test_otlp_gives_back_what_it_got() -> None:
    snapshots = filled().snapshot()
    pull = otlp.decode(otlp.encode(RESOURCE, snapshots, now_ns=1_700_000_001_000_000_000))
    assert (pull.service, pull.instance_id, pull.time_ns) == (
        "crossfade-worker",
        "instance-1",
        1_700_000_001_000_000_000,
    )
    (sent,) = metrics_pb2.MetricsData.FromString(otlp.encode(RESOURCE, snapshots)).resource_metrics
    assert {pair.key: pair.value.string_value for pair in sent.resource.attributes}["service.version"] == "7.0.0"
    spread = Snapshot(catalog.INPUT_COUNT, ("churn", "v1", "live", "", "age", "p1"), (3, 4), 0.0, ("0", "2"), BEGUN)
    others = [one for one in snapshots if one.metric not in {catalog.INPUT_COUNT, catalog.ROUTE_SHARE}]
    gauges = [replace(one, start_ns=0) for one in snapshots if one.metric is catalog.ROUTE_SHARE]
    expected = [spread, *gauges, *others]
    assert pull.start_ns == BEGUN
    assert sorted(pull.snapshots, key=repr) == sorted(expected, key=repr)


def test_what_the_catalog_does_not_know_is_passed_over() -> None:
    assert otlp.decode(b"").snapshots == ()


def test_other_bounds_are_refused() -> None:
    raw = otlp.encode(RESOURCE, filled().snapshot())
    data = metrics_pb2.MetricsData.FromString(raw)
    for metric in data.resource_metrics[0].scope_metrics[0].metrics:
        if metric.name == catalog.INFERENCE_DURATION.name:
            metric.histogram.data_points[0].explicit_bounds.pop()
    with pytest.raises(ValueError, match="bounds"):
        otlp.decode(data.SerializeToString())


def test_another_number_of_buckets_is_refused() -> None:
    data = metrics_pb2.MetricsData.FromString(otlp.encode(RESOURCE, filled().snapshot()))
    for metric in data.resource_metrics[0].scope_metrics[0].metrics:
        if metric.name == catalog.INFERENCE_DURATION.name:
            metric.histogram.data_points[0].bucket_counts.pop()
    with pytest.raises(ValueError, match=r"came with \d+ buckets instead of"):
        otlp.decode(data.SerializeToString())


def test_snapshots_of_several_processes_add_up() -> None:
    one, other = filled(), filled()
    other.spread(catalog.INPUT_COUNT, ("0", "1", "2"), "churn", "v1", "live", "", "age", "p1").add([0, 1, 0])
    merged = {snapshot.metric: snapshot for snapshot in merge([*one.snapshot(), *other.snapshot()])}
    assert merged[catalog.FEEDBACK_COUNT].counts == (10,)
    assert merged[catalog.INPUT_COUNT].counts == (6, 1, 8)
    assert sum(merged[catalog.INFERENCE_DURATION].counts) == 10
    assert merged[catalog.ROUTE_SHARE].total == 9_500


def test_a_sum_counts_since_the_first_of_its_parts_did() -> None:
    for starts, expected in (((5, 3), 3), ((5, 0), 0)):
        (feedback,) = (
            one
            for one in merge(
                [replace(one, start_ns=start) for start in starts for one in filled(start or BEGUN).snapshot()]
            )
            if one.metric is catalog.FEEDBACK_COUNT
        )
        assert feedback.start_ns == expected


def test_labels_that_have_counted_nothing_count_since_they_were_last_looked_at() -> None:
    times = iter(range(1, 100))
    store = MetricStore(lambda: next(times))
    spread = store.spread(catalog.INPUT_COUNT, ("0", "1"), "churn", "v1", "live", "", "age", "p1")
    store.snapshot()
    spread.add([1, 0])
    assert [one.start_ns for one in (*store.snapshot(), *store.snapshot())] == [2, 2]
    store.drop(lambda *_: True)
    store.spread(catalog.INPUT_COUNT, ("0", "1"), "churn", "v1", "live", "", "age", "p1").add([1, 0])
    assert [one.start_ns for one in store.snapshot()] == [5]


def test_spread_counters_with_other_labels_add_up_by_label() -> None:
    key = ("churn", "v1", "live", "", "3.1")
    parts = [
        Snapshot(catalog.PREDICTION_COUNT, key, (1, 2), labels=("keep", "churn")),
        Snapshot(catalog.PREDICTION_COUNT, key, (5,), labels=("churn",)),
    ]
    (merged,) = merge(parts)
    assert dict(zip(merged.labels, merged.counts, strict=True)) == {"keep": 1, "churn": 7}


def test_dropped_series_are_gone() -> None:
    store = filled()
    store.drop(lambda metric, attributes: attributes.get("version") == "v1" and metric is catalog.INPUT_COUNT)
    assert catalog.INPUT_COUNT not in {one.metric for one in store.snapshot()}


def test_wrong_attributes_and_kinds_are_programming_errors() -> None:
    store = filled()
    with pytest.raises(ValueError, match="takes"):
        store.counter(catalog.FEEDBACK_DUPLICATE_COUNT, "churn")
    with pytest.raises(TypeError, match="not a CounterSeries"):
        store.counter(catalog.ROUTE_SHARE, "churn", "v1", "stable", "")


def test_the_prometheus_page_has_cumulative_buckets() -> None:
    now = RESOURCE.start_time_ns + 90_000_000_000
    families = {family.name: family for family in prometheus.families(RESOURCE, filled().snapshot(), now)}
    histogram = families["crossfade_inference_duration_seconds"]
    buckets = [sample for sample in histogram.samples if sample.name.endswith("_bucket")]
    assert buckets[0].value == 2
    assert buckets[-1].labels["le"] == "+Inf"
    assert buckets[-1].value == 5
    assert families["crossfade_lane_input_count"].samples[2].labels["bin"] == "2"
    assert [families[name].samples[0].value for name in ("process_start_time_seconds", "process_uptime_seconds")] == [
        1_700_000_000.0,
        90.0,
    ]


def test_the_page_says_since_when_series_count_that_are_of_no_split_and_no_label() -> None:
    store = filled()
    store.counter(catalog.SHADOW_PAIR_COUNT, "churn", "v1", "shadow", "", "keep", "churn").add()
    said = {
        sample.name: sample.value
        for family in prometheus.families(RESOURCE, store.snapshot())
        for sample in family.samples
        if sample.name.endswith("_created")
    }
    names = ("crossfade_inference_duration_seconds_created", "crossfade_shadow_pair_count_created")
    assert said == dict.fromkeys(names, BEGUN / 1e9)


def test_every_series_of_the_prometheus_page_says_which_process_counted_it() -> None:
    first, second, *others = prometheus.families(RESOURCE, filled().snapshot())
    (info,) = first.samples
    assert info.name == "target_info"
    assert info.labels == {"service_name": "crossfade-worker", "service_instance_id": "instance-1"}
    (built,) = second.samples
    assert built.name == "crossfade_build_info"
    assert built.labels == {"service_version": "7.0.0", "service_instance_id": "instance-1"}
    assert len(others) == 6
    for family in others:
        assert family.samples
        assert all(sample.labels["service_instance_id"] == "instance-1" for sample in family.samples)


def test_the_deployment_page_counts_a_histograms_series_as_they_are() -> None:
    page = (Path(__file__).parents[3] / "docs/deployment.md").read_text()
    calls, batches, lag, cohorts = (
        # Its bounds, the last bucket, the sum and the count.
        len(metric.bounds) + 3
        for metric in (
            catalog.ATTEMPT_DURATION,
            catalog.QUEUE_DURATION,
            catalog.FEEDBACK_LAG,
            catalog.COHORT_FEEDBACK,
        )
    )
    for words in (f"a Router {calls} × o × (e + 1)", f"{lag} × 3", f"{batches} × (1 + b)", f"{cohorts} × s × 2"):
        assert words in page, words
