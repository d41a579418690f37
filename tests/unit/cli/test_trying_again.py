"""What `crossfade explain` says of the next try where evidence was too little, or came from copies alone."""

from crossfade.cli.render.explain import explain
from crossfade.common.v1 import policy_pb2 as policy
from crossfade.common.v1.analysis_pb2 import GateReport
from crossfade.registry.v1 import resources_pb2 as resources
from tests.unit.cli import samples


def thin(rollout: resources.Rollout, *gates: GateReport) -> resources.Rollout:
    """It ended with too little evidence."""
    rollout.state = resources.ROLLOUT_STATE_INCONCLUSIVE
    rollout.end_time.CopyFrom(samples.at(12))
    rollout.outcome.code, rollout.outcome.reason = "TOO_LITTLE_EVIDENCE", "the period ended with too little evidence"
    rollout.outcome.summary.gates.extend(gates)
    return rollout


def open_gate(seconds: int, metric: policy.Metric.ValueType = policy.METRIC_ERRORS, n: int = 100) -> GateReport:
    """A required gate that would have taken so many seconds more; 0: nobody knows."""
    gate = samples.gate(
        policy.Metric.Name(metric).removeprefix("METRIC_").lower(),
        (n, 0, 0.0),
        (9_000, 9, 0.001),
        (-0.001, -0.01, 0.01),
        0.0,
        0.4,
        f"about 900 more attempts of v2: {seconds} s at this traffic" if seconds else "labels of v2: none yet",
    )
    gate.metric, gate.needed, gate.needed_time.seconds = metric, 900 if seconds else 0, seconds
    return gate


def test_too_little_evidence_names_a_period_and_a_share_that_would_do() -> None:
    ended = thin(samples.rollout(), open_gate(1_800), open_gate(900, policy.METRIC_RUNTIME))
    told = explain("churn", ended, None, samples.NOW)
    # An hour and a half, with some room; and with the share of a step that settles for a minute.
    assert told.endswith(
        "Next: crossfade versions show churn v2, or try again for as long as it takes at that traffic: "
        "crossfade start churn v2 --plan 5%:1h57m; with the same period --share 10% would do"
    )
    assert "    it lacked about 900 more attempts of v2: 1800 s at that traffic\n" in told
    assert "waits for" not in told
    # What was rolled back lacked nothing.
    ended.state = resources.ROLLOUT_STATE_ROLLED_BACK
    assert "lacked" not in explain("churn", ended, None, samples.NOW)


def test_a_share_is_named_where_it_would_do() -> None:
    half = samples.rollout()
    half.plan.steps[0].share_bps = 4_000
    several = samples.rollout()
    several.plan.steps.add(share_bps=2_500).period.seconds = 600
    for ended in (half, several):
        assert "--share" not in explain("churn", thin(ended, open_gate(1_800)), None, samples.NOW)
    labels = thin(samples.rollout(), open_gate(1_800, policy.METRIC_ACCURACY))
    assert "--share" not in explain("churn", labels, None, samples.NOW)


def test_the_step_that_was_too_short_gets_the_longer_period() -> None:
    ended = samples.rollout()
    ended.plan.steps.add(share_bps=2_500).period.seconds = 600
    ended.step = 1
    told = explain("churn", thin(ended, open_gate(300)), None, samples.NOW)
    assert told.endswith("crossfade start churn v2 --plan 5%:1h,25%:20m")
    # A file's plan may have what no option says.
    ended.plan.steps[0].min_duration.seconds = 60
    assert "start churn v2 --policy FILE --period 20m (FILE: " in explain("churn", ended, None, samples.NOW)


def test_what_time_does_not_help_is_forecast_first() -> None:
    ended = thin(samples.rollout(), open_gate(1_800), open_gate(0, policy.METRIC_ACCURACY))
    ended.plan.steps[0].period.seconds = 60
    assert explain("churn", ended, None, samples.NOW).endswith(
        "or see what the plan must be, since the same one would end the same way (accuracy waited for labels of v2: "
        "none yet): crossfade forecast churn --version v2 --plan 5%:1m"
    )
    ended.assignment = policy.ASSIGNMENT_KEY
    assert "or try again for twice as long (accuracy waited" in explain("churn", ended, None, samples.NOW)
    ended.outcome.summary.holds.append("metrics are stale")
    assert "or once that is mended, try again: crossfade start" in explain("churn", ended, None, samples.NOW)


def test_where_no_period_is_long_enough_the_plan_or_the_margins_change() -> None:
    told = explain("churn", thin(samples.rollout(), open_gate(10**9)), None, samples.NOW)
    assert told.endswith(
        "or change the share or the margins (safe) of errors: no period is long enough at that traffic"
    )


def test_what_has_passed_in_shadow_is_started_live() -> None:
    ended = thin(samples.rollout())
    ended.outcome.code = "SHADOW_PASSED"
    ended.plan.steps[0].mode = policy.MODE_SHADOW
    assert explain("churn", ended, None, samples.NOW).endswith("or start it live: crossfade start churn v2 --plan 5%")


def test_a_version_that_was_not_safe_in_sum_is_not_tried_again_with_more_of_the_same() -> None:
    ended = thin(samples.rollout(), open_gate(1_800))
    ended.outcome.code, ended.outcome.reason = "NOT_SAFE", "in sum v2 is not safe"
    told = explain("churn", ended, None, samples.NOW)
    assert told.endswith("Next: crossfade versions show churn v2")
    assert ": in sum it was not safe." in told
