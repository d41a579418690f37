"""`crossfade explain`, by its exact text; the errors of failed calls."""

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from crossfade.cli.actions.transitions import changed
from crossfade.cli.errors import NothingAnswersError, command_error
from crossfade.cli.render.explain import explain
from crossfade.cli.render.gate_words import DEFAULT_HARM, allowance, arms_sentence, difference, metric_of
from crossfade.cli.render.gates import difference_text, gates_table
from crossfade.common.v1 import policy_pb2 as policy
from crossfade.common.v1.analysis_pb2 import VERDICT_CONTINUE, VERDICT_UNSPECIFIED, ArmCounts, FeatureDrift, GateReport
from crossfade.registry.v1 import resources_pb2 as resources
from services.common.policy.metrics import MetricKind
from services.common.policy.records import DEFAULT_HARM as EVALUATOR_HARM
from tests.unit.cli import samples

ROLLED_BACK = f"""\
Rollout 8: v3 was ROLLED BACK 4 min 10 s after its start, by the evaluator, for accuracy.
  v3 was right on 82.5 % of 487 labels, v1 on 91.8 % of 9,602 of the same minutes.
  The difference is −9.2 points (95 % interval −13.8 … −4.7); the gate allows −0.5 points.
  The evidence of harm reached the bar that rolls it back (110 % of it).
  A version as good as v1 would be rolled back wrongly in at most 1 of 100 rollouts.
  Callers saw no failure of v3: 487 attempts, none failed.
  The other gates:
    errors: safe. v3 failed 0.00 % of 487 attempts, v1 0.02 % of 9,800; −0.02 (−1.00 … +1.00) pt
      evidence of harm: 0 % of what rolls it back; of being safe: all of what promotion needs
    runtime: safe. v3 took 3.0 ms a batch at the median (480 batches), v1 3.0 ms (470); 0 % (−10 … +10) %
      evidence of harm: 0 % of what rolls it back; of being safe: all of what promotion needs
  Inputs: no drift (largest: age, 0.03 of 0.10).
  Traces: 4bf92f3577b34da6a3ce929d0e0e4736, {"a" * 32}, {"b" * 32}, …
  Next: crossfade versions show churn v3"""

LIVE = """\
Rollout 7: v2 is RUNNING at 5 % against v1, 4:12 of 1:00:00.
  errors: undecided. v2 failed 0.00 % of 5,120 attempts, v1 0.02 % of 97,300; −0.02 (−0.06 … +0.31) pt
    evidence of harm: 2 % of what rolls it back; of being safe: 86 % of what promotion needs
    waits for about 900 more attempts of v2: 45 s at this traffic
  runtime: safe. v2 took 3.2 ms a batch at the median (4,800 batches), v1 3.1 ms (4,790); +2 % (−3 … +6) %
    evidence of harm: 4 % of what rolls it back; of being safe: all of what promotion needs
  accuracy: undecided. v2 was right on 92.1 % of 1,204 labels, v1 on 91.8 % of 22,900; +0.3 (−1.4 … +2.1) pt
    evidence of harm: 1 % of what rolls it back; of being safe: 71 % of what promotion needs
    waits for about 380 more mature labels of v2: 3 min at this traffic
  Inputs: no drift (largest: age, 0.03 of 0.10).
  At look 42: waits for about 380 more mature labels of v2: 3 min at this traffic.
  Next: crossfade status churn -w"""


def test_a_rollback_by_a_gate() -> None:
    assert explain("churn", samples.rolled_back(), None, samples.NOW) == ROLLED_BACK


def test_a_live_rollout() -> None:
    assert explain("churn", samples.rollout(), samples.live_analysis(), samples.NOW) == LIVE


def test_how_far_inputs_moved_is_told_by_the_distances_that_people_know() -> None:
    analysis = samples.live_analysis()
    analysis.summary.drift.features[0].MergeFrom(FeatureDrift(psi=0.012, jensen_shannon=0.0021))
    analysis.summary.drift.features.add(feature="city", shift=0.02)
    text = explain("churn", samples.rollout(), analysis, samples.NOW)
    assert "\n    age: shift 0.03, PSI 0.012, Jensen-Shannon 0.002 bits\n" in text
    # Of this one too few rows were seen.
    assert "city: " not in text


def test_a_rollback_without_a_gate() -> None:
    ended = samples.rolled_back()
    ended.ClearField("start_time")
    ended.outcome.CopyFrom(
        resources.Outcome(reason="no Worker could load v3: CUDA out of memory", code="LOAD_FAILED", actor="evaluator")
    )
    ended.create_time.CopyFrom(samples.at(340))
    assert explain("churn", ended, None, samples.NOW) == (
        "Rollout 8: v3 was ROLLED BACK 40 s after it was asked for, before it began, by the evaluator: "
        "it could not be loaded.\n"
        "  Reason: no Worker could load v3: CUDA out of memory.\n"
        "  Next: crossfade versions show churn v3"
    )


def test_failed_attempts_are_said_to_have_been_tried_again() -> None:
    ended = samples.rolled_back()
    ended.outcome.summary.gates[0].test.x = 12
    text = explain("churn", ended, None, samples.NOW)
    assert "12 of 487 attempts failed at v3; those were tried again at v1 where their deadlines left time." in text


def test_a_cancelled_rollout_says_how_to_start_again() -> None:
    ended = samples.rollout(resources.ROLLOUT_STATE_CANCELLED)
    ended.end_time.CopyFrom(samples.at(12))
    ended.outcome.CopyFrom(
        resources.Outcome(reason="not today", code="PERSON", actor="spiffe://crossfade/operator/ana")
    )
    assert explain("churn", ended, None, samples.NOW) == (
        "Rollout 7: v2 was CANCELLED 4 min after its start, by ana (operator).\n"
        "  Reason: not today.\n"
        "  Next: crossfade versions show churn v2, or try again: crossfade start churn v2"
    )


def test_an_ab_test_is_tried_again_as_one_and_an_ended_rollout_waits_for_nothing() -> None:
    ended = samples.rollout(resources.ROLLOUT_STATE_INCONCLUSIVE)
    ended.end_time.CopyFrom(samples.at(12))
    ended.objective = policy.OBJECTIVE_SUPERIOR
    ended.assignment = policy.ASSIGNMENT_KEY
    ended.plan.CopyFrom(policy.TrafficPlan(steps=[policy.Step(share_bps=5_000)]))
    ended.plan.steps[0].period.seconds = 5400
    ended.outcome.CopyFrom(resources.Outcome(reason="nobody won", code="NO_WINNER"))
    gate = ended.outcome.summary.gates.add(gate="errors", metric=policy.METRIC_ERRORS, required=True)
    gate.verdict, gate.waits_for = VERDICT_CONTINUE, "its next look, in 3 min"
    text = explain("churn", ended, None, samples.NOW)
    assert "crossfade start churn v2 --objective superior --assignment key --plan 50%:3h" in text
    assert "errors: undecided" in text
    assert "waits for" not in text


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


def test_what_nobody_judges_has_no_evidence_and_what_is_watched_need_not_be_safe() -> None:
    live = samples.live_analysis()
    live.summary.gates[0].verdict = VERDICT_UNSPECIFIED
    live.summary.gates[2].required = False
    told = explain("churn", samples.rollout(), live, samples.NOW)
    assert "  errors: not judged. v2 failed 0.00 % of 5,120 attempts, " in told
    assert told.count("evidence of harm") == 2
    assert "    evidence of harm: 1 % of what rolls it back\n" in told


def test_it_is_tried_again_in_its_segment_with_its_own_policy_and_plan() -> None:
    ended = samples.rollout(resources.ROLLOUT_STATE_CANCELLED)
    ended.segment = "eu"
    ended.approval.actor = "local:ana"
    told = explain("churn", ended, None, samples.NOW)
    assert told.endswith("try again: crossfade start churn v2 --approval --segment eu")
    ended.policy.alpha_rollback = 0.001
    told = explain("churn", ended, None, samples.NOW)
    assert "crossfade start churn v2 --policy FILE --approval --plan 5%:1h --segment eu (FILE: " in told
    ended.plan.steps.add(share_bps=2_500).period.seconds = 600
    told = explain("churn", ended, None, samples.NOW)
    assert told.endswith(
        "try again: crossfade start churn v2 --policy FILE --approval --plan 5%:1h,25%:10m --segment eu "
        "(FILE: its policy was one of its own, and is given again)"
    )
    # No option says a shortest duration: the file's plan counts.
    ended.plan.steps[0].min_duration.seconds = 60
    told = explain("churn", ended, None, samples.NOW)
    assert "crossfade start churn v2 --policy FILE --approval --segment eu (FILE: " in told


def test_before_the_first_look() -> None:
    assert "The evaluator has not looked at it yet." in explain("churn", samples.rollout(), None, samples.NOW)


def test_the_allowance_follows_the_policy() -> None:
    gates = [policy.Gate(metric=policy.METRIC_ACCURACY, harm=policy.Margin(factor=1, offset=0.03))]
    gate = samples.rolled_back().outcome.summary.gates[2]
    assert allowance(policy.Policy(gates=gates), gate, policy.METRIC_ACCURACY) == "−3 points"
    assert allowance(policy.Policy(), gate, policy.METRIC_RUNTIME) == "+9 %"


@pytest.mark.parametrize("metric", [MetricKind.ERRORS, MetricKind.RUNTIME, MetricKind.ACCURACY])
def test_the_default_margins_are_those_of_the_evaluator(metric: MetricKind) -> None:
    mine = DEFAULT_HARM[policy.Metric.Value(f"METRIC_{metric.upper()}")]
    theirs = EVALUATOR_HARM[metric]
    assert (mine.factor or 1, mine.offset, mine.buckets) == (theirs.factor, theirs.offset, theirs.buckets)


def test_what_changed_meanwhile_is_told() -> None:
    after = samples.rollout(resources.ROLLOUT_STATE_PROMOTED)
    after.effective_share_bps = 0
    after.note = "v2 is no worse than v1."
    assert changed("churn", samples.rollout(), after) == (
        "rollout 7 has changed since it was read: it was RUNNING at 5 % (v2 gets 5 % (step 1 of 1)), it is "
        "PROMOTED (v2 is no worse than v1). Look at it (crossfade explain churn --rollout 7), then say it again "
        "if you still want it"
    )


class _Failure(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        self._code, self._details = code, details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details


def test_nothing_answers() -> None:
    error = command_error(_Failure(grpc.StatusCode.UNAVAILABLE, "connection refused"), "localhost:8500", "router")
    assert isinstance(error, NothingAnswersError)
    assert int(error.exit_code) == 3
    assert error.message == (
        "nothing answers at localhost:8500. Is `crossfade up` running? "
        "(--router or CROSSFADE_ROUTER set another address)"
    )


@pytest.mark.parametrize(
    ("code", "details", "words", "exit_code"),
    [
        (grpc.StatusCode.UNAVAILABLE, "SSL handshake failed", "no TLS connection to localhost:8400", 3),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", "did not answer in time", 3),
        (grpc.StatusCode.UNIMPLEMENTED, "Method not found!", "is no Registry of Crossfade", 1),
        (grpc.StatusCode.UNKNOWN, "", "localhost:8400 answered UNKNOWN: no message", 1),
    ],
)
def test_other_failures(code: grpc.StatusCode, details: str, words: str, exit_code: int) -> None:
    error = command_error(_Failure(code, details), "localhost:8400", "registry")
    assert words in error.message
    assert error.exit_code == exit_code


@pytest.mark.parametrize(
    ("metric", "sentence", "shown"),
    [
        (policy.METRIC_PRECISION, "82.5 % of v2's 487 answers spam were right, 91.8 % of v1's 9,602", "−9.3"),
        (policy.METRIC_RECALL, "v2 found 82.5 % of 487 rows that are spam, v1 91.8 % of 9,602", "−9.3"),
        (policy.METRIC_FALSE_POSITIVE_RATE, "v2 took 17.50 % of 487 other rows for spam, v1 8.20 % of 9,602", "+9.30"),
        (policy.METRIC_CLASS_BALANCE, "v2 answered spam for 17.5 % of 487 rows, v1 for 8.2 % of 9,602", "+9.30"),
        (policy.METRIC_F1, "v2's F1 for spam was 0.825 (487 rows), v1's 0.918 (9,602)", "−9.3"),
        (policy.METRIC_ABSOLUTE_ERROR, "v2 was off by 0.175 at the median of 487 labels, v1 by 0.082 of 9,602", "+9"),
    ],
)
def test_what_gates_of_one_class_say(metric: policy.Metric.ValueType, sentence: str, shown: str) -> None:
    gate = GateReport(
        gate="quality",
        metric=metric,
        positive_class="spam",
        test=ArmCounts(n=487, estimate=0.175),
        baseline=ArmCounts(n=9602, estimate=0.082),
        difference=0.093,
        low=0.047,
        high=0.138,
    )
    assert metric_of(policy.Policy(), gate) == metric
    assert arms_sentence("v2", "v1", gate, metric) == sentence
    found = difference(gate, metric)
    assert found is not None
    assert found.middle == shown
    assert allowance(policy.Policy(), gate, metric).endswith((" points", "+9 %"))


@pytest.mark.parametrize(
    ("metric", "limit", "sentence", "shown", "allowed"),
    [
        (
            policy.METRIC_RECALL,
            policy.Limit(at_least=0.9),
            "v2 found 82.5 % of 487 rows that are spam, v1 91.8 % of 9,602",
            "−7.5 (−12.0 … −2.0) pt of ≥ 90 %",
            "≥ 90 %",
        ),
        (
            policy.METRIC_RUNTIME,
            policy.Limit(duration=Duration(nanos=20_000_000)),
            "v2: its batches took a mean of 175 ms (487 batches); v1: 82.0 ms (9,602)",
            "+8 % (+2 … +12) % of ≤ 20 ms",
            "≤ 20 ms",
        ),
        (
            policy.METRIC_RUNTIME,
            policy.Limit(duration=Duration(nanos=50_000_000), quantile=0.99),
            "v2: 99 % of its batches took at most 175 ms (487 batches); v1: 82.0 ms (9,602)",
            "+8 % (+2 … +12) % of ≤ 50 ms for 99 %",
            "≤ 50 ms for 99 %",
        ),
        (
            policy.METRIC_ERRORS,
            policy.Limit(at_most=0.01),
            "v2 failed 17.50 % of 487 attempts, v1 8.20 % of 9,602",
            "+7.50 (+2.00 … +12.00) pt of ≤ 1 %",
            "≤ 1 %",
        ),
    ],
)
def test_what_gates_with_a_limit_say(
    metric: policy.Metric.ValueType, limit: policy.Limit, sentence: str, shown: str, allowed: str
) -> None:
    gate = GateReport(
        gate="quality",
        metric=metric,
        positive_class="spam",
        test=ArmCounts(n=487, estimate=0.175),
        baseline=ArmCounts(n=9602, estimate=0.082),
        difference=0.075,
        low=0.02,
        high=0.12,
        limit=limit,
    )
    assert arms_sentence("v2", "v1", gate, metric) == sentence
    assert allowance(policy.Policy(), gate, metric) == allowed
    assert difference_text(gate, metric) == shown
    gate.ClearField("baseline")
    assert difference_text(gate, metric) == shown
    gate.ClearField("test")
    assert difference_text(gate, metric) == allowed


def test_a_rollback_by_a_limit_says_how_far_from_it() -> None:
    rollout = samples.rolled_back()
    deciding = next(gate for gate in rollout.outcome.summary.gates if gate.gate == rollout.outcome.gate)
    deciding.limit.at_least = 0.9
    told = explain("churn", rollout, None, samples.NOW)
    assert "The distance from the limit is " in told
    assert "; the gate allows ≥ 90 %." in told
    assert "A version that keeps to it would be rolled back wrongly in at most 1 of 100 rollouts." in told


def test_the_primary_gate_of_an_ab_test_is_better_and_not_safe() -> None:
    summary = samples.live_summary()
    summary.gates[1].primary = True
    lines = [str(line) for line in gates_table(summary, policy.Policy())]
    assert lines[2].rstrip().endswith("better")


def test_the_average_over_the_classes_follows_the_one_that_is_shown() -> None:
    gate = GateReport(test=ArmCounts(n=487, estimate=0.175), baseline=ArmCounts(n=9602, estimate=0.082))
    gate.positive_class = "spam"
    gate.averages.test, gate.averages.baseline = 0.9, 0.918
    assert arms_sentence("v2", "v1", gate, policy.METRIC_RECALL) == (
        "v2 found 82.5 % of 487 rows that are spam, v1 91.8 % of 9,602; averaged over the classes 90.0 % against 91.8 %"
    )
