"""`crossfade status`, by its exact text."""

import dataclasses

import pytest

from crossfade.cli.actions.watching import code_of
from crossfade.cli.render.jsons import view_json
from crossfade.cli.render.status import render_models, rollout_line, split_of
from crossfade.cli.render.tables import version_details
from crossfade.cli.render.traffic import LaneFigures, VersionFigures
from crossfade.cli.render.views import LaneView
from crossfade.common.v1 import model_pb2, policy_pb2
from crossfade.common.v1.analysis_pb2 import DriftReport, FeatureDrift, Summary
from crossfade.common.v1.policy_pb2 import Step, TrafficPlan
from crossfade.registry.v1 import resources_pb2 as resources
from tests.unit.cli import samples

LIVE = """\
churn · 412 req/s · changed 14 s ago by evaluator
 v1  STABLE      95.0 %  ███████████████████░  p50 3.1 ms  errors 0.02 %  accuracy 91.8 %
 v2  TESTING      5.0 %  █░░░░░░░░░░░░░░░░░░░  p50 3.2 ms  errors 0.00 %  accuracy 92.1 %
     rollout 7 · 5 % · RUNNING 4:12 of 1:00:00 · look 42, 9 s ago
     gate      stable  test    difference (95 % interval)  harm        safe
     errors    0.02 %  0.00 %  −0.02 (−0.06 … +0.31) pt    ░░░░░  2 %  ██████░░ 86 %
     runtime   3.1 ms  3.2 ms  +2 % (−3 … +6) %            ░░░░░  4 %  ████████ safe
     accuracy  91.8 %  92.1 %  +0.3 (−1.4 … +2.1) pt       ░░░░░  1 %  █████░░░ 71 %
     inputs: no drift (largest: age, 0.03 of 0.10)
     waits for about 900 more attempts of v2: 45 s at this traffic
     waits for about 380 more mature labels of v2: 3 min at this traffic
 v0  DEPRECATED          1 d 1 h ago"""

ENDED = """\
churn · changed 14 s ago by evaluator
 v1  STABLE  100.0 %  ████████████████████
 v3  FAILED           5 min ago
     rollout 8 · v3 ROLLED BACK 5 min ago: v3 was wrong on 17.5 % of 487 labels and v1 on 8.20 % of 9,602 of the \
same minutes
 note: no Router could be read"""


def test_a_live_rollout() -> None:
    assert render_models([samples.view()]).plain == LIVE


def test_an_ended_rollout_without_routers() -> None:
    ended = samples.lane()
    ended.rollout = ""
    del ended.versions[:]
    ended.versions.add(version="v3", state=resources.VERSION_STATE_FAILED, state_time=samples.at(300))
    ended.versions.add(version="v1", state=resources.VERSION_STATE_STABLE)
    view = dataclasses.replace(
        samples.view(),
        lanes=(LaneView(ended, samples.rolled_back()),),
        workers=(),
        warnings=("no Router could be read",),
    )
    assert render_models([view]).plain == ENDED


def test_an_undone_lane_says_by_whom_and_why() -> None:
    lane = samples.lane()
    lane.rollout = ""
    undone = resources.Event(type="LANE_UNDONE", time=samples.at(300), actor="local:evaluator", reason="v2 failed 5 %")
    view = dataclasses.replace(samples.view(), lanes=(LaneView(lane, samples.rolled_back(), undone=undone),))
    assert render_models([view]).plain.splitlines()[-1] == " undone 5 min ago by evaluator: v2 failed 5 %"
    assert view_json(view)["lanes"][0]["undone"]["type"] == "LANE_UNDONE"


@pytest.mark.parametrize(
    ("reason", "said"),
    [("Bad.", "v2 is FAILED: Bad."), ("No reason was given.", "v2 is FAILED")],
)
def test_an_undone_lane_says_what_became_of_the_version_before(reason: str, said: str) -> None:
    lane = samples.lane()
    lane.rollout = ""
    undone = resources.Event(type="LANE_UNDONE", time=samples.at(300), actor="local:ana", reason=reason)
    undone.outcome.reason = f"v2 is FAILED: {reason}"
    view = dataclasses.replace(samples.view(), lanes=(LaneView(lane, samples.rolled_back(), undone=undone),))
    assert render_models([view]).plain.splitlines()[-1] == f" undone 5 min ago by ana: {said}"


def test_an_undo_without_a_reason_says_by_whom_alone() -> None:
    lane = samples.lane()
    lane.rollout = ""
    undone = resources.Event(type="LANE_UNDONE", time=samples.at(300), actor="local:ada", reason="No reason was given.")
    view = dataclasses.replace(samples.view(), lanes=(LaneView(lane, samples.rolled_back(), undone=undone),))
    assert render_models([view]).plain.splitlines()[-1] == " undone 5 min ago by ada"


@pytest.mark.parametrize(
    ("per_second", "said"), [(0.0, "no calls now"), (2.04, "2.0 req/s"), (10.0, "10 req/s"), (1_234.5, "1,234 req/s")]
)
def test_a_lane_that_nobody_calls_now_is_said_to_be_quiet_and_shows_what_was_counted(
    per_second: float, said: str
) -> None:
    lane = samples.view().lanes[0]
    assert lane.figures is not None
    figures = dataclasses.replace(lane.figures, per_second=per_second)
    view = dataclasses.replace(samples.view(), lanes=(dataclasses.replace(lane, figures=figures),))
    lines = render_models([view]).plain.splitlines()
    assert lines[0] == f"churn · {said} · changed 14 s ago by evaluator"
    assert "p50 3.1 ms  errors 0.02 %" in lines[1]
    assert view_json(view)["lanes"][0]["requests_per_second"] == per_second


def test_what_is_not_shown_is_counted_and_what_undo_goes_back_to_is_shown() -> None:
    lane = samples.lane()
    lane.previous_version = "w0"
    for number in reversed(range(9)):
        lane.versions.add(version=f"w{number}", state=resources.VERSION_STATE_DEPRECATED, state_time=samples.at(90_000))
    lines = render_models([dataclasses.replace(samples.view(), lanes=(LaneView(lane, samples.rolled_back()),))]).plain
    shown = [line.split()[0] for line in lines.splitlines() if "DEPRECATED" in line]
    assert shown == ["v0", "w8", "w7", "w6", "w0"]
    assert " … and 5 more: crossfade versions churn" in lines.splitlines()


def test_every_line_of_a_live_rollout_fits_the_width() -> None:
    assert max(map(len, render_models([samples.view()]).plain.splitlines())) <= 100


def test_what_waits_behind_a_rollout_is_shown() -> None:
    queued = samples.rollout(resources.ROLLOUT_STATE_QUEUED, 9)
    queued.note = "v4 waits for rollout 7 (v2, 5 %) and starts by itself."
    lane = dataclasses.replace(samples.view().lanes[0], queued=queued)
    text = render_models([dataclasses.replace(samples.view(), lanes=(lane,))]).plain
    assert "     rollout 9 · QUEUED · v4 waits for rollout 7 (v2, 5 %) and starts by itself." in text.splitlines()


def test_a_pause_for_drift_stops_the_clock_and_says_why() -> None:
    paused = samples.rollout(resources.ROLLOUT_STATE_PAUSED)
    paused.pause_time.CopyFrom(samples.at(100))
    paused.pause_reason = resources.PAUSE_REASON_INPUT_DRIFT
    paused.note = "inputs drifted in both arms"
    look = samples.live_analysis()
    drift = DriftReport(
        test_drifted=True,
        stable_drifted=True,
        test_rows=10,
        stable_rows=10,
        features=[FeatureDrift(feature="age", shift=0.312)],
    )
    look.summary.CopyFrom(Summary(drift=drift, holds=["metrics of 1 of 2 routers are stale"]))
    lane = LaneView(samples.lane(), paused, look)
    text = render_models([dataclasses.replace(samples.view(), lanes=(lane,))]).plain
    assert (
        "     rollout 7 · 5 % · PAUSED 2:32 of 1:00:00 · look 42, 9 s ago\n"
        "     inputs drifted in both arms\n"
        "     inputs: drifted in both arms (age 0.31; 0.10 allowed)\n"
        "     holds: metrics of 1 of 2 routers are stale\n"
    ) in text


def test_a_pause_by_a_person_says_what_ends_it_in_its_lane() -> None:
    paused = samples.rollout(resources.ROLLOUT_STATE_PAUSED)
    paused.segment, paused.note = "eu", "lunch"
    lane = LaneView(samples.lane(), paused, samples.live_analysis())
    text = render_models([dataclasses.replace(samples.view(), lanes=(lane,))]).plain
    assert "paused by a person: lunch; crossfade resume churn --segment eu lets it go on" in text


def test_a_version_that_waits_for_a_worker() -> None:
    waiting = samples.rollout(resources.ROLLOUT_STATE_WAITING_READY)
    waiting.ClearField("step_start_time")
    waiting.ClearField("start_time")
    waiting.note = "v2 waits until a Worker has loaded and verified it."
    waiting.effective_share_bps = 0
    broken = samples.worker("v1")
    broken.serving.add(
        model="churn",
        version="v2",
        traffic=model_pb2.TRAFFIC_LIVE,
        state=resources.SERVING_STATE_FAILED,
        error="golden outputs differ",
        error_code="VERIFY_FAILED",
    )
    view = dataclasses.replace(samples.view(), lanes=(LaneView(samples.lane(), waiting),), workers=(broken,))
    text = render_models([view]).plain
    assert "v1  STABLE      100.0 %" in text
    assert "ready on 0 of 1 worker; VERIFY_FAILED: golden outputs differ" in text
    assert "rollout 7 · 5 % · WAITING READY\n     v2 waits until a Worker has loaded and verified it." in text


def test_what_keeps_a_worker_from_loading_a_version_is_said() -> None:
    worker = samples.worker("v1")
    worker.serving.add(
        model="churn",
        version="v2",
        traffic=model_pb2.TRAFFIC_LIVE,
        state=resources.SERVING_STATE_LOADING,
        error="file:///models/v2 cannot be read",
    )
    waiting = samples.rollout(resources.ROLLOUT_STATE_WAITING_READY)
    view = dataclasses.replace(samples.view(), lanes=(LaneView(samples.lane(), waiting),), workers=(worker,))
    said = "in the way: file:///models/v2 cannot be read"
    assert f"ready on 0 of 1 worker; {said}" in render_models([view]).plain
    version = resources.Version(name="models/churn/versions/v2")
    version.readiness.add(instance_id="w1", serving=worker.serving[-1])
    assert f"\n   {said}" in version_details("churn", version).plain


def test_of_thousands_of_classes_some_are_named_and_the_others_counted() -> None:
    version = resources.Version(name="models/churn/versions/v2")
    version.signature.classes.extend(f"c{number}" for number in range(10_000))
    version.profile.class_proportions.extend([1e-4] * 10_000)
    shown = version_details("churn", version).plain
    assert "c18, c19, and 9,980 more\n" in shown
    assert "c7 0.0 %, and 9,992 more" in shown
    assert len(shown) < 1_000


def test_a_share_that_workers_cannot_carry_and_the_step_are_said() -> None:
    one = samples.rollout()
    one.plan.CopyFrom(TrafficPlan(steps=[Step(share_bps=500), Step(share_bps=5_000)]))
    one.step = 1
    one.effective_share_bps = 2_500
    expected = "rollout 7 · 25 % of 50 % wanted: too few workers are ready · step 2 of 2 · RUNNING 4:12 of 1:00:00"
    assert rollout_line(one, samples.NOW).plain == expected


def test_the_split_adds_up_and_control_belongs_to_stable() -> None:
    assert split_of(samples.lane(), samples.rollout()) == {"v1": 9_500, "v2": 500}
    assert split_of(resources.Lane(), None) == {}


def test_no_models_says_what_to_do() -> None:
    assert "crossfade publish MODEL DIR" in render_models([]).plain


def test_a_model_without_versions_says_what_to_do() -> None:
    view = dataclasses.replace(samples.view(), model=resources.Model(name="models/churn"), lanes=())
    assert render_models([view]).plain == ("churn has no version yet: crossfade publish churn DIR publishes the first")


def test_exit_codes() -> None:
    view = samples.view()
    ended = dataclasses.replace(view, lanes=(LaneView(samples.lane(), samples.rolled_back()),))
    none = dataclasses.replace(view, lanes=(LaneView(samples.lane()),))
    assert [code_of([view]), code_of([ended]), code_of([none]), code_of([ended, view])] == [10, 11, 0, 10]


def test_the_json_has_the_same_keys_with_and_without_a_rollout() -> None:
    view = samples.view()
    bare = dataclasses.replace(view, lanes=(LaneView(samples.lane()),), changed=None)
    assert view_json(view).keys() == view_json(bare).keys()
    assert view_json(view)["lanes"][0].keys() == view_json(bare)["lanes"][0].keys()
    assert view_json(view)["lanes"][0]["requests_per_second"] == 412.4


def of_labels(metric: "policy_pb2.Metric.ValueType", pairs: dict[tuple[str, str], int], *classes: str) -> str:
    """What is shown of v1 while its rollout has a gate of this metric, about churn or about each of the classes."""
    look = samples.live_analysis()
    for positive in classes or ("churn",):
        look.summary.gates.add(gate=f"its-{positive}", metric=metric, positive_class=positive)
    figures = VersionFigures(1_000, 0, 0.003, 100, 90, pairs)
    lane = LaneView(samples.lane(), samples.rollout(), look, figures=LaneFigures(1.0, {"v1": figures}))
    first = render_models([dataclasses.replace(samples.view(), lanes=(lane,))]).plain.splitlines()[1]
    return first.partition("errors 0.00 %  ")[2]


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (policy_pb2.METRIC_F1, "F1 85.7 %"),
        (policy_pb2.METRIC_PRECISION, "precision 75.0 %"),
        (policy_pb2.METRIC_RECALL, "recall 100.0 %"),
        (policy_pb2.METRIC_FALSE_POSITIVE_RATE, "false positives 14.3 %"),
        (policy_pb2.METRIC_ACCURACY, "accuracy 90.0 %"),
        (policy_pb2.METRIC_VALUE, "accuracy 90.0 %"),
    ],
)
def test_labels_are_shown_in_the_measure_that_is_judged(metric: "policy_pb2.Metric.ValueType", said: str) -> None:
    assert of_labels(metric, {("churn", "churn"): 30, ("churn", "keep"): 10, ("keep", "keep"): 60}) == said


def test_what_is_measured_of_several_classes_names_them() -> None:
    pairs = {("churn", "churn"): 30, ("churn", "keep"): 10, ("keep", "keep"): 60}
    said = of_labels(policy_pb2.METRIC_RECALL, pairs, "churn", "keep")
    assert said == "recall (churn) 100.0 %  recall (keep) 85.7 %"


def test_what_is_measured_of_each_class_names_the_one_that_is_shown() -> None:
    look = samples.live_analysis()
    look.summary.gates.add(gate="recall", metric=policy_pb2.METRIC_RECALL, positive_class="keep")
    rollout = samples.rollout()
    rollout.policy.gates.add(metric=policy_pb2.METRIC_RECALL, positive_class="*")
    figures = VersionFigures(1_000, 0, 0.003, 100, 90, {("churn", "keep"): 10, ("keep", "keep"): 60})
    lane = LaneView(samples.lane(), rollout, look, figures=LaneFigures(1.0, {"v1": figures}))
    first = render_models([dataclasses.replace(samples.view(), lanes=(lane,))]).plain.splitlines()[1]
    assert first.endswith("recall (keep) 85.7 %")


def test_of_many_classes_only_the_right_ones_are_known() -> None:
    assert of_labels(policy_pb2.METRIC_F1, {("", "churn"): 40, ("", "keep"): 60}) == "accuracy 90.0 %"
    assert of_labels(policy_pb2.METRIC_RECALL, {("keep", "keep"): 100}) == "accuracy 90.0 %"
