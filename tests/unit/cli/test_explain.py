"""`crossfade explain`, by its exact text."""

from crossfade.cli.render.explain import explain
from crossfade.cli.render.tries import tries_sentence
from crossfade.common.v1 import policy_pb2 as policy
from crossfade.common.v1.analysis_pb2 import VERDICT_CONTINUE, VERDICT_UNSPECIFIED, FeatureDrift
from crossfade.registry.v1 import resources_pb2 as resources
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


def test_another_try_says_what_it_adds_to_the_chance_of_luck() -> None:
    seventh = samples.rollout()
    earlier = [resources.Rollout(name=f"models/churn/rollouts/{number}") for number in (6, 4)]
    said = tries_sentence(seventh, earlier)
    assert said == (
        "It is try 3 of v2 (2 rollouts before: 4, 6). A version that is worse by a whole safe margin passes one try "
        "with a chance of 0.05 at most, one of 3 with 0.14."
    )
    assert f"\n  {said}\n  Next: " in explain("churn", seventh, samples.live_analysis(), samples.NOW, said)
    seventh.policy.alpha_promote = 0.01
    seventh.objective = policy.OBJECTIVE_SUPERIOR
    assert "A version that is no better wins one try with a chance of 0.01 at most" in tries_sentence(seventh, earlier)


def test_a_first_try_and_one_that_failed_say_nothing_of_luck() -> None:
    assert not tries_sentence(samples.rollout(), [])
    assert not tries_sentence(samples.rolled_back(), [samples.rollout()])


def test_of_many_tries_the_latest_are_named() -> None:
    earlier = [resources.Rollout(name=f"models/churn/rollouts/{number}") for number in range(6, 0, -1)]
    assert "It is try 7 of v2 (6 rollouts before: …, 2, 3, 4, 5, 6)." in tries_sentence(samples.rollout(), earlier)


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
