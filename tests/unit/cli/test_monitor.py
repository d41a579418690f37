"""`crossfade monitor`, and alerts in `crossfade status`, by their exact text."""

import dataclasses

import pytest

from crossfade.cli import text
from crossfade.cli.render.jsons import view_json
from crossfade.cli.render.monitor import render_monitor, unseen
from crossfade.cli.render.status import render_models
from crossfade.common.v1 import analysis_pb2, policy_pb2
from crossfade.registry.v1 import resources_pb2 as resources
from tests.unit.cli import samples

ALERT = "v1 failed 5.10 % of 900 attempts lately; 0.61 % is allowed by its own past of 0.20 %"

WATCHED = """\
churn · look 431, 12 s ago, of v1 · alerts are told
 alert for 3 min: v1 failed 5.10 % of 900 attempts lately; 0.61 % is allowed by its own past of 0.20 %
 metric    past    lately  allowed   harm
 errors    0.20 %  5.10 %  ≤ 0.61 %  █████ worse
 accuracy  92.0 %  91.8 %  ≥ 89.2 %  ░░░░░ 10 %
 outputs   –       1.2 pt  ± 6.4 pt  ░░░░░ 10 %
 Inputs: no drift (largest: age, 0.03 of 0.10)"""


def gate(name: str, metric: "policy_pb2.Metric.ValueType", past: float, seen: float) -> analysis_pb2.GateReport:
    return analysis_pb2.GateReport(
        gate=name,
        metric=metric,
        verdict=analysis_pb2.VERDICT_PASS,
        test=analysis_pb2.ArmCounts(n=900, estimate=seen),
        baseline=analysis_pb2.ArmCounts(n=84_000, estimate=past),
        harm=analysis_pb2.Evidence(log_e=0.5, bar=5.0),
    )


def monitor() -> resources.Monitor:
    """Of a version that fails."""
    errors = gate("errors", policy_pb2.METRIC_ERRORS, 0.002, 0.051)
    errors.verdict, errors.limit.at_most = analysis_pb2.VERDICT_FAIL, 0.0061
    accuracy = gate("accuracy", policy_pb2.METRIC_ACCURACY, 0.08, 0.082)
    accuracy.limit.at_least = 0.892
    outputs = gate("outputs", policy_pb2.METRIC_CLASS_BALANCE, 0.0, 0.012)
    outputs.limit.at_most = 0.064
    drift = analysis_pb2.DriftReport(stable_rows=5_000, features=[analysis_pb2.FeatureDrift(feature="age", shift=0.03)])
    return resources.Monitor(
        model="models/churn",
        version="v1",
        sequence=431,
        record_time=samples.at(12),
        summary=analysis_pb2.Summary(reason=ALERT, gates=[errors, accuracy, outputs], drift=drift),
        alerts=[resources.Alert(gate="errors", reason=ALERT, start_time=samples.at(180))],
    )


def drawn(found: resources.Monitor, rollout: str = "") -> str:
    return text.join(render_monitor(found, "churn", rollout, samples.view().now)).plain


def test_a_lane_with_an_alert() -> None:
    assert drawn(monitor()) == WATCHED


def test_a_lane_in_which_nothing_stands_out() -> None:
    calm = monitor()
    del calm.alerts[:]
    calm.summary.reason = "nothing stands out in v1"
    calm.settings.undo = True
    assert drawn(calm).splitlines()[:2] == [
        "churn · look 431, 12 s ago, of v1 · an alert undoes it once",
        " nothing stands out in v1",
    ]


def test_a_lane_under_a_rollout_before_its_first_look_and_one_that_is_not_watched() -> None:
    assert drawn(monitor(), "8").startswith("churn · rollout 8 watches it now · look 431")
    assert drawn(resources.Monitor(sequence=9)) == "churn · no look since it was switched on"
    off = resources.Monitor(settings=resources.MonitorSettings(off=True))
    assert drawn(off) == "churn is not watched: crossfade monitor churn --on watches it again"
    off.segment = "eu"
    assert drawn(off) == "churn eu is not watched: crossfade monitor churn --on --segment eu watches it again"


@pytest.mark.parametrize(
    ("stable", "rollout", "evaluator", "said"),
    [
        (
            "v1",
            "",
            True,
            "no look yet: the first one comes within a minute, or within the Evaluator's CROSSFADE_MONITOR_SECONDS",
        ),
        (
            "v1",
            "",
            False,
            "no look yet: no Evaluator has reported to the Registry (crossfade instances lists who has)",
        ),
        (
            "v1",
            "8",
            True,
            "rollout 8 watches it now · no look yet: it is looked at without a rollout, so once that has ended",
        ),
        ("", "", True, "no look yet: nothing is stable in it"),
    ],
)
def test_a_lane_before_its_first_look(stable: str, rollout: str, evaluator: bool, said: str) -> None:
    first = unseen(stable, rollout, evaluator=evaluator)
    lines = render_monitor(resources.Monitor(), "churn", rollout, samples.view().now, first)
    assert text.join(lines).plain == f"churn · {said}"


def test_drifted_inputs_are_said_once() -> None:
    found = monitor()
    found.summary.drift.stable_drifted = True
    assert "Inputs" not in drawn(found)


def test_status_names_the_alerts() -> None:
    view = samples.view()
    lanes = (dataclasses.replace(view.lanes[0], monitor=monitor()),)
    view = dataclasses.replace(view, lanes=lanes)
    assert render_models([view]).plain.splitlines()[-1] == f" alert for 3 min: {ALERT}"
    assert view_json(view)["lanes"][0]["alerts"][0]["gate"] == "errors"
