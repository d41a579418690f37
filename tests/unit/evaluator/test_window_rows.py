"""What is counted in a window, arm by arm: attempts, runtimes, labels."""

from evaluator.window.arm_counts import ArmCounts
from evaluator.window.arm_rows import error_rows, runtime_rows, with_kept_back
from evaluator.window.counts import Series
from evaluator.window.label_rows import slice_counts
from evaluator.window.labels import Labels, OfClass, SliceCounts
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from tests.fakes.rollouts import demo_policy, demo_terms
from tests.unit.evaluator.counted import attempt, series, window


def test_errors_are_of_the_looks_epoch_and_not_of_the_callers() -> None:
    terms = demo_terms(features=0)
    found = (
        attempt("v2", "live", "ok", 90),
        attempt("v2", "live", "INTERNAL", 7),
        attempt("v2", "live", "DEADLINE_EXCEEDED", 2),
        # What only the test version calls wrong.
        attempt("v2", "live", "INPUT_REFUSED", 1),
        attempt("v2", "live", "INVALID_ARGUMENT", 50),
        attempt("v2", "pinned", "INTERNAL", 50),
        attempt("v2", "live", "INTERNAL", 50, epoch=1),
        attempt("v1", "live", "ok", 800),
        attempt("v1", "control", "UNAVAILABLE", 10),
        attempt("v1", "failover", "INTERNAL", 50),
        attempt("v0", "live", "INTERNAL", 50),
    )
    assert error_rows(ArmCounts(window(*found), terms), 2) == [(100, 10, 810, 10)]


def drawn(arm: str, count: int, epoch: int = 2) -> Series:
    return series("crossfade.route.count", count, segment="", arm=arm, epoch=str(epoch))


def test_probes_stand_for_what_breakers_kept_from_the_version() -> None:
    terms = demo_terms(features=0)
    cut = window(
        attempt("v2", "live", "ok", 100),
        attempt("v2", "reduced", "INTERNAL", 3),
        attempt("v2", "reduced", "ok", 1),
        # Of another split, of another version, and what is their callers' fault.
        attempt("v2", "reduced", "INTERNAL", 9, epoch=1),
        attempt("v1", "reduced", "INTERNAL", 9),
        attempt("v2", "reduced", "INVALID_ARGUMENT", 9),
        attempt("v1", "live", "ok", 1_000),
        drawn("test", 460),
        drawn("test", 9_000, epoch=1),
        drawn("stable", 1_000),
    )
    # In the second process everything was kept from it, and draws are not counted in a lane by key.
    other = window(attempt("v2", "reduced", "INTERNAL", 2), attempt("v1", "live", "ok", 50), name="b")
    counted = ArmCounts(cut + other, terms)
    assert with_kept_back(counted, 2) == [(460, 270, 1_000, 0), (200, 200, 50, 0)]
    # What is tested, and what is known of stable before, is as it was.
    assert error_rows(counted, 2) == [(100, 0, 1_000, 0), (0, 0, 50, 0)]
    assert with_kept_back(counted, None) == error_rows(counted, None)


def test_each_process_gives_a_window_of_its_own() -> None:
    both = window(attempt("v2", "live", "ok", 5), attempt("v1", "live", "ok", 50)) + window(
        attempt("v2", "live", "ok", 6), attempt("v1", "live", "ok", 60), name="b"
    )
    assert error_rows(ArmCounts(both, demo_terms(features=0)), 2) == [(5, 0, 50, 0), (6, 0, 60, 0)]


def test_runtimes_are_compared_with_control_within_a_batch_size() -> None:
    buckets = [0] * 143
    buckets[3] = 4
    found = [
        series(
            "crossfade.inference.duration", *buckets, version=version, traffic=traffic, batch=batch, precision=precision
        )
        for version, traffic, batch, precision in (
            ("v2", "live", "1", "fp32"),
            ("v2", "live", "1", "bf16"),
            ("v1", "control", "8", "fp32"),
            ("v1", "live", "1", "fp32"),
        )
    ]
    rows = runtime_rows(ArmCounts(window(*found), demo_terms(features=0)))
    assert [(batch, sum(test), sum(control)) for batch, test, control in rows] == [(1, 8, 0), (8, 0, 4)]


def test_labels_are_counted_within_their_slice() -> None:
    test = {"version": "v2", "traffic": "live", "segment": "", "slice": "2.5"}
    stable = {"version": "v1", "segment": "", "slice": "2.6", "predicted": ""}
    found = (
        series("crossfade.prediction.count", 3, 7, labels=("3", "7"), **test),
        series("crossfade.feedback.count", 1, 4, labels=("3", "7"), predicted="7", **test),
        series("crossfade.feedback.count", 6, labels=("3",), traffic="control", correct="true", **stable),
        series("crossfade.feedback.count", 2, labels=("3",), traffic="live", correct="false", **stable),
    )
    assert slice_counts(ArmCounts(window(*found), demo_terms(features=0))) == {
        (2, 5): SliceCounts(test_predictions=10, test=Labels(5, 1)),
        (2, 6): SliceCounts(stable=Labels(8, 2)),
    }


def test_labels_are_counted_by_the_classes_that_gates_watch() -> None:
    policy = demo_policy(gates=(GateDraft(MetricKind.RECALL, required=True, positive="3"),))
    test = {"version": "v2", "traffic": "live", "segment": "", "slice": "2.5"}
    stable = {"version": "v1", "traffic": "live", "segment": "", "slice": "2.5"}
    found = (
        series("crossfade.feedback.count", 1, 4, labels=("3", "7"), predicted="7", **test),
        series("crossfade.feedback.count", 6, 2, labels=("3", "7"), predicted="3", **test),
        # A model of many classes: its labels do not say what was predicted, only whether that was right.
        series("crossfade.feedback.count", 5, 9, labels=("3", "7"), predicted="", correct="true", **stable),
        series("crossfade.feedback.count", 3, labels=("3",), predicted="", correct="false", **stable),
    )
    counted = slice_counts(ArmCounts(window(*found), demo_terms(policy, features=0)))[2, 5]
    assert counted.test == Labels(13, 3, (OfClass(predicted=8, actual=7, both=6),))
    assert counted.test.bad(MetricKind.RECALL, 0) == (7, 1)
    assert counted.stable.bad(MetricKind.RECALL, 0) == (8, 3)
    assert counted.stable.bad(MetricKind.ACCURACY, 0) == (17, 3)
