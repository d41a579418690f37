"""Numbers, times and columns; the counters' figures; arrays; predictions."""

import math
from pathlib import Path

import numpy as np
import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from rich.text import Text

from crossfade.cli import text
from crossfade.cli.actions.arrays import first_rows, fit, load_arrays
from crossfade.cli.actions.predicting import answer_text, predictions
from crossfade.cli.errors import CommandError, UsageError
from crossfade.cli.render import traffic
from crossfade.cli.render.gates import fraction
from crossfade.cli.render.tables import load_sentences
from crossfade.client import Answer
from crossfade.codec import Array
from crossfade.common.v1.analysis_pb2 import Evidence
from crossfade.common.v1.model_pb2 import Signature, TensorSpec
from crossfade.registry.v1.resources_pb2 import LoadReport
from services.common.telemetry import catalog, otlp
from services.common.telemetry.bounds import CALL_BOUNDS
from services.common.telemetry.store import Snapshot


def test_numbers() -> None:
    assert [text.seconds(value) for value in (0.00034, 0.0031, 0.25, 1.24, math.nan)] == [
        "340 µs",
        "3.1 ms",
        "250 ms",
        "1.2 s",
        "–",
    ]
    assert [text.span(value) for value in (14.2, 250, 7_500, 90_000, 3_600, -1)] == [
        "14 s",
        "4 min 10 s",
        "2 h 5 min",
        "1 d 1 h",
        "1 h",
        "0 s",
    ]
    assert [text.clock(value) for value in (9, 252.9, 3_600)] == ["0:09", "4:12", "1:00:00"]
    assert [text.signed(0.306, 1), text.signed(-0.06, 2), text.signed(-0.001, 2)] == ["+0.3", "−0.06", "0.00"]
    assert [text.share(500), text.share(250), text.share(1)] == ["5 %", "2.5 %", "0.01 %"]
    assert [text.size(812), text.size(1_400_000)] == ["812 B", "1.4 MB"]


def test_a_bar_shows_what_is_little_and_fills_for_all_alone() -> None:
    assert [text.bar(part, 4) for part in (0, 0.001, 0.999, 1)] == ["░░░░", "█░░░", "███░", "████"]


def test_actors() -> None:
    names = ("local:ana", "spiffe://crossfade/evaluator/evaluator", "spiffe://crossfade/operator/ana", "x")
    assert [text.actor(name) for name in names] == ["ana", "evaluator", "ana (operator)", "x"]


def test_the_gist_of_a_reason() -> None:
    assert text.gist("v2 is no worse than v1: v2 failed 0.00 %; 1 point is allowed") == "v2 is no worse than v1"
    assert text.gist("not today.") == "not today"


def test_columns_align_and_leave_no_space_at_the_end() -> None:
    lines = text.columns([["a", "1", Text("x")], ["bb", "10"]], right=(1,), indent=1)
    assert [line.plain for line in lines] == [" a    1  x", " bb  10"]


def test_evidence_is_a_share_of_its_bar() -> None:
    assert fraction(Evidence(log_e=2, bar=4)) == 0.5
    assert fraction(Evidence(log_e=-2, bar=4)) == 0.0
    assert fraction(Evidence(log_e=math.inf, bar=4)) == 1.0
    assert fraction(Evidence(log_e=2)) == 0.0


def _attempts(version: str, kind: str, outcome: str, epoch: str, counts: dict[float, int]) -> Snapshot:
    bounds = CALL_BOUNDS
    buckets = [0] * (len(bounds) + 1)
    for seconds, count in counts.items():
        buckets[int(np.searchsorted(bounds, seconds))] += count
    return Snapshot(catalog.ATTEMPT_DURATION, ("churn", version, kind, "", outcome, epoch), tuple(buckets), 1.0)


def _reading(seconds: float, snapshots: list[Snapshot]) -> traffic.Reading:
    raw = otlp.encode(otlp.Resource("crossfade-router", "r", 0), snapshots, 1)
    assert MetricsData.FromString(raw).resource_metrics
    return traffic.Reading(seconds, {"r:1": traffic.decode(raw)})


def _calls(count: int, segment: str = "") -> Snapshot:
    counts = (count, *[0] * len(CALL_BOUNDS))
    return Snapshot(catalog.ROUTE_DURATION, ("churn", "v1", "live", segment, "ok"), counts, 1.0)


def test_figures_of_the_split_in_force() -> None:
    labels = [
        Snapshot(catalog.FEEDBACK_COUNT, ("churn", "v1", "control", "", "3.1", "a", "a", "true"), (9,)),
        Snapshot(catalog.FEEDBACK_COUNT, ("churn", "v1", "live", "", "3.1", "a", "b", "false"), (1,)),
    ]
    snapshots = [
        _attempts("v1", "live", "ok", "3", {0.003: 60}),
        _attempts("v1", "control", "INTERNAL", "3", {0.05: 20}),
        _attempts("v1", "live", "ok", "2", {9.0: 1_000}),
        _attempts("v1", "pinned", "ok", "3", {9.0: 1_000}),
        *labels,
    ]
    earlier = _reading(10.0, [_calls(100), _calls(5, "vip")])
    later = _reading(12.0, [_calls(150), _calls(500, "vip"), *snapshots])
    figures = traffic.lane_figures(earlier, later, "", 3)
    assert figures.per_second == 25.0
    one = figures.versions["v1"]
    assert (one.attempts, one.failed, one.labelled, one.right) == (80, 20, 10, 9)
    assert one.pairs == {("a", "a"): 9, ("a", "b"): 1}
    assert one.median == pytest.approx(0.003, rel=0.2)
    assert traffic.lane_figures(None, later, "", 9).versions["v1"].attempts == 1_080


def test_a_router_that_began_anew_counts_from_zero() -> None:
    figures = traffic.lane_figures(_reading(0.0, [_calls(100)]), _reading(1.0, [_calls(30)]), "", 1)
    assert figures.per_second == 30.0


def test_a_version_that_is_unloaded_takes_its_counts_along_and_is_no_traffic() -> None:
    old = Snapshot(catalog.ROUTE_DURATION, ("churn", "v0", "live", "", "ok"), (9_000, *[0] * len(CALL_BOUNDS)), 1.0)
    figures = traffic.lane_figures(_reading(0.0, [_calls(100), old]), _reading(1.0, [_calls(130)]), "", 1)
    assert figures.per_second == 30.0


def test_a_median_lies_geometrically_in_its_bucket() -> None:
    assert traffic.median((0, 10, 0), (1.0, 4.0)) == pytest.approx(2.0)
    assert traffic.median((0, 0, 5), (1.0, 4.0)) == 4.0
    assert math.isnan(traffic.median((0, 0, 0), (1.0, 4.0)))


def test_arrays_get_the_models_names_and_types(tmp_path: Path) -> None:
    signature = Signature(inputs=[TensorSpec(name="x", datatype="FP32", shape=[-1, 2])])
    np.save(tmp_path / "rows.npy", np.ones((3, 2)))
    (tmp_path / "rows.json").write_text("[[1, 2]]")
    np.savez(tmp_path / "rows.npz", allow_pickle=False, y=np.ones(3, dtype=np.int64))
    rows = fit(load_arrays(str(tmp_path / "rows.npy")), signature)
    assert list(rows) == ["x"]
    assert rows["x"].dtype == np.float32
    assert fit(load_arrays(str(tmp_path / "rows.json")), signature)["x"].dtype == np.float32
    assert fit(load_arrays(str(tmp_path / "rows.npz")), signature)["y"].dtype == np.int64
    assert list(fit({"": np.ones(2)}, None)) == ["input"]


def test_a_single_number_has_no_first_rows() -> None:
    assert first_rows({"": np.array(1.5)}, 2) == {"": 1.5}


def test_floats_are_never_cut_to_whole_numbers() -> None:
    signature = Signature(inputs=[TensorSpec(name="x", datatype="INT64", shape=[-1])])
    assert fit({"": np.array([1.5])}, signature)["x"].dtype == np.float64


@pytest.mark.parametrize(
    ("given", "takes"),
    [
        (np.array([2**32 + 5]), "INT32"),
        (np.array([300]), "INT8"),
        (np.array([2**53 + 1]), "FP32"),
        (np.array([1e300]), "FP32"),
    ],
)
def test_numbers_that_an_input_cannot_hold_are_left_for_it_to_refuse(given: Array, takes: str) -> None:
    signature = Signature(inputs=[TensorSpec(name="x", datatype=takes, shape=[-1])])
    assert fit({"": given}, signature)["x"].dtype == given.dtype


def test_inputs_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('{"x": "text"}')
    (tmp_path / "ragged.json").write_text("[[1], [2, 3]]")
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY\x01")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04")
    for name in ("bad.json", "ragged.json", "cut.npy", "cut.npz"):
        with pytest.raises(UsageError, match="holds no arrays"):
            load_arrays(str(tmp_path / name))
    with pytest.raises(CommandError, match="cannot be read"):
        load_arrays(str(tmp_path / "none.npy"))


def test_an_answer_for_people() -> None:
    outputs = {"scores": np.array([[0.91, 0.09], [0.2, 0.8]], dtype=np.float32)}
    predicted = predictions(outputs, ("keep", "churn"))
    answer = Answer("churn", "v2", outputs, "token", "")
    assert predicted == ["keep", "churn"]
    assert answer_text(answer, predicted, 0.012).plain == (
        "churn v2 answered 2 rows in 12.0 ms\n"
        " row  class  scores\n"
        "   0  keep   0.91 0.09\n"
        "   1  churn  0.2 0.8\n"
        "prediction token"
    )
    assert predictions(outputs, ("a", "b", "c")) == []


def test_whether_mixed_precision_helped_is_answered_by_numbers() -> None:
    report = LoadReport(
        device="cuda:0",
        precision="bf16",
        load_seconds=2.5,
        full_seconds=0.0021,
        mixed_seconds=0.001,
        golden_error=0.12,
        mixed_error=0.3,
        precision_reason="faster, and within the tolerance",
    )
    assert load_sentences(report) == [
        "runs in bf16 on cuda:0; ready after 2.5 s; golden outputs: largest difference 0.12 of the tolerance",
        (
            "mixed precision: one row in 1.0 ms, in full precision 2.1 ms (2.10 × as fast); "
            "golden outputs: largest difference 0.3 of the tolerance"
        ),
        "why bf16: faster, and within the tolerance",
    ]
    report.max_rows = 256
    assert load_sentences(report)[0].startswith("runs in bf16 on cuda:0 in batches of up to 256 rows; ready after")
    report.mixed_error = -1.0
    assert load_sentences(report)[1].endswith("(2.10 × as fast); golden outputs: no agreement")
    report.timed_rows = 64
    assert load_sentences(report)[1].startswith("mixed precision: a batch of 64 in 1.0 ms, in full precision 2.1 ms")
    report.mixed_seconds = 0
    assert load_sentences(report)[1].endswith("; mixed precision gave no answers")
    report.mixed_error = 0
    assert "mixed precision was not tried" in load_sentences(report)[1]
    report.architecture = "mlp of our-models 1.2.0"
    assert load_sentences(report)[1] == "weights for the architecture mlp of our-models 1.2.0"
