"""Counting, and the way of the counts through OTLP."""

import numpy as np
import pytest
from opentelemetry.proto.metrics.v1 import metrics_pb2

from services.common.telemetry import catalog, otlp, prometheus
from services.common.telemetry.otlp import Resource
from services.common.telemetry.store import MetricStore, Snapshot, merge

RESOURCE = Resource("crossfade-worker", "instance-1", 1_700_000_000_000_000_000)


def filled() -> MetricStore:
    store = MetricStore()
    histogram = store.histogram(catalog.INFERENCE_DURATION, "churn", "v1", "live", "1", "fp32")
    for value in (40e-6, 50e-6, 51e-6, 0.003, 99.0):
        histogram.record(value)
    store.counter(catalog.FEEDBACK_COUNT, "churn", "v1", "live", "", "3.1", "keep", "keep", "true").add(5)
    store.spread(catalog.INPUT_COUNT, ("0", "1", "2"), "churn", "v1", "live", "age", "p1").add([3, 0, 4])
    store.gauge(catalog.ROUTE_SHARE, "churn", "v1", "stable", "").set(9_500)
    return store


def test_bounds_are_geometric() -> None:
    bounds = catalog.INFERENCE_BOUNDS
    assert bounds[0] == 50e-6
    assert bounds[-2] < 10.0 <= bounds[-1] * (1 + 1e-9)
    assert np.allclose(np.diff(np.log2(bounds)), 1 / 8)
    assert np.allclose(np.diff(np.log2(catalog.CALL_BOUNDS)), 1 / 4)


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
    spread = Snapshot(catalog.INPUT_COUNT, ("churn", "v1", "live", "age", "p1"), (3, 4), labels=("0", "2"))
    expected = [spread if one.metric is catalog.INPUT_COUNT else one for one in snapshots]
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


def test_snapshots_of_several_processes_add_up() -> None:
    one, other = filled(), filled()
    other.spread(catalog.INPUT_COUNT, ("0", "1", "2"), "churn", "v1", "live", "age", "p1").add([0, 1, 0])
    merged = {snapshot.metric: snapshot for snapshot in merge([*one.snapshot(), *other.snapshot()])}
    assert merged[catalog.FEEDBACK_COUNT].counts == (10,)
    assert merged[catalog.INPUT_COUNT].counts == (6, 1, 8)
    assert sum(merged[catalog.INFERENCE_DURATION].counts) == 10
    assert merged[catalog.ROUTE_SHARE].total == 9_500


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
    families = {family.name: family for family in prometheus.families(RESOURCE, filled().snapshot())}
    histogram = families["crossfade_inference_duration_seconds"]
    buckets = [sample for sample in histogram.samples if sample.name.endswith("_bucket")]
    assert buckets[0].value == 2
    assert buckets[-1].labels["le"] == "+Inf"
    assert buckets[-1].value == 5
    assert families["crossfade_input_count"].samples[2].labels["bin"] == "2"


def test_every_series_of_the_prometheus_page_says_which_process_counted_it() -> None:
    first, *others = prometheus.families(RESOURCE, filled().snapshot())
    (info,) = first.samples
    assert info.name == "target_info"
    assert info.labels == {"service_name": "crossfade-worker", "service_instance_id": "instance-1"}
    assert len(others) == 4
    for family in others:
        assert family.samples
        assert all(sample.labels["service_instance_id"] == "instance-1" for sample in family.samples)
