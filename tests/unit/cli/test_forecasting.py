"""`crossfade forecast` and `replay`, by their exact text."""

import math

import pytest
from google.protobuf.duration_pb2 import Duration

from crossfade.cli.actions.forecasting import advice, forecast_lines, parse_drop, plan_sentences
from crossfade.cli.actions.replaying import replay_text
from crossfade.cli.errors import UsageError
from crossfade.common.v1 import analysis_pb2, policy_pb2
from crossfade.evaluator.v1 import evaluator_pb2
from crossfade.registry.v1.resources_pb2 import Rollout
from tests.unit.cli.samples import at


def amount(n: int, seconds: int | None) -> evaluator_pb2.Amount:
    return evaluator_pb2.Amount(n=n, time=None if seconds is None else Duration(seconds=seconds))


def gate(name: str, metric: policy_pb2.Metric.ValueType, **more: object) -> evaluator_pb2.GateForecast:
    fields: dict[str, object] = {"required": True, "stable": 0.082, "by": 0.02, "safe": amount(1_317, 300)}
    return evaluator_pb2.GateForecast(gate=name, metric=metric, **(fields | more))  # type: ignore[arg-type] # by name


def step(
    *gates: evaluator_pb2.GateForecast, concludes: bool = True, longer: int = 0, larger: int = 0
) -> evaluator_pb2.StepForecast:
    return evaluator_pb2.StepForecast(
        step=policy_pb2.Step(share_bps=500, period=Duration(seconds=3600)),
        gates=gates,
        concludes=concludes,
        longer_period=Duration(seconds=longer) if longer else None,
        larger_share_bps=larger,
    )


def answer(*steps: evaluator_pb2.StepForecast) -> evaluator_pb2.ForecastResponse:
    return evaluator_pb2.ForecastResponse(
        stable="v1", attempts_per_second=412, labels_per_second=96.4, watched=Duration(seconds=10), steps=steps
    )


EXPECTED = """\
churn · 412 requests/s, 96.4 labels/s of v1, watched for 10 s
5 % for at most 1 h
  gate              v1       safe, if like it        rolled back, if worse by
  errors            0.02 %   2,100 requests · 1 min  +0.5 pt: 640 requests · 31 s
  runtime           3.1 ms   180 batches · 9 s       +18.9 %: never, or unknown
  recall (watched)  91.8 %   1,317 labels · 5 min    −2 pt: 900 labels · 4 min
  class_balance     –        never, or unknown       ±5 pt: 400 rows · no such traffic
  It ends after about 1 h, if the version is like v1."""


def test_a_forecast() -> None:
    shown = answer(
        step(
            gate(
                "errors",
                policy_pb2.METRIC_ERRORS,
                stable=0.0002,
                by=0.005,
                safe=amount(2_100, 60),
                harm=amount(640, 31),
            ),
            gate("runtime", policy_pb2.METRIC_RUNTIME, stable=0.0031, by=0.189, safe=amount(180, 9)),
            gate("recall", policy_pb2.METRIC_RECALL, required=False, harm=amount(900, 240)),
            gate(
                "class_balance",
                policy_pb2.METRIC_CLASS_BALANCE,
                stable=math.nan,
                by=0.05,
                safe=None,
                harm=amount(400, None),
                enough=amount(400, 300),
            ),
        )
    )
    lines = [str(line) for line in forecast_lines("churn", shown)]
    assert "\n".join(lines).split() == EXPECTED.split()
    del shown.steps[0].gates[-1]
    assert str(forecast_lines("churn", shown)[-1]) == "  It ends after about 1 min, if the version is like v1."


def test_without_calls_no_margin_is_blamed() -> None:
    shown = answer(step(gate("errors", policy_pb2.METRIC_ERRORS, safe=None), concludes=False))
    assert "look at the gates' margins" in str(forecast_lines("churn", shown)[-1])
    shown.attempts_per_second = 0
    assert str(forecast_lines("churn", shown)[-1]).startswith("  No call came while it was watched, so that nothing ")


def test_what_is_not_forecast_is_named() -> None:
    shown = answer(step(gate("errors", policy_pb2.METRIC_ERRORS)))
    shown.steps[0].left_out.extend(["errors in eu", "paired_accuracy"])
    told = "  Not forecast, since nothing of it was counted: errors in eu, paired_accuracy"
    assert str(forecast_lines("churn", shown)[-2]) == told


def test_floors_are_named_at_a_start_too() -> None:
    shown = answer(step(gate("errors", policy_pb2.METRIC_ERRORS)), step(gate("errors", policy_pb2.METRIC_ERRORS)))
    assert plan_sentences(shown) == []
    for one in shown.steps:
        one.left_out.extend(["errors in eu", "accuracy in eu"])
        one.warnings.append("the harm and safe margins of errors in eu (almost) meet")
    told = [
        "The harm and safe margins of errors in eu (almost) meet.",
        "Not forecast, since nothing of it was counted: errors in eu, accuracy in eu",
    ]
    assert plan_sentences(shown) == told
    shown.steps[1].concludes = False
    late = "At the traffic seen now it cannot conclude in its period: no period is long enough; look at the gates' "
    assert plan_sentences(shown) == [f"{late}margins.", *told]
    # Without traffic nothing could be forecast, and nobody need be warned of that.
    shown.attempts_per_second = 0
    assert plan_sentences(shown) == told


def test_a_share_is_for_a_plan_of_one_step() -> None:
    late = step(gate("errors", policy_pb2.METRIC_ERRORS), concludes=False, longer=30_000, larger=4_200)
    assert advice(late, steps=2) == "it needs --period 9h."


def test_what_is_unwise_stands_in_the_forecast() -> None:
    shown = answer(step(gate("errors", policy_pb2.METRIC_ERRORS)))
    shown.steps[0].warnings.append("3 judged looks have to agree on harm")
    assert str(forecast_lines("churn", shown)[-2]) == "  3 judged looks have to agree on harm."


def test_when_floors_alone_decide_the_end_is_not_forecast() -> None:
    shown = answer(step())
    shown.steps[0].left_out.append("errors in eu")
    assert str(forecast_lines("churn", shown)[-1]) == "  When it ends is not forecast: that is up to errors in eu."


def test_the_shortest_time_of_a_step_is_waited_for() -> None:
    shown = answer(step(gate("errors", policy_pb2.METRIC_ERRORS)))
    shown.steps[0].step.min_duration.seconds = 1_200
    assert str(forecast_lines("churn", shown)[-1]) == "  It ends after about 20 min, if the version is like v1."


def test_a_shadow_step_is_called_one_and_counts_pairs() -> None:
    shown = answer(step(gate("disagreement limit", policy_pb2.METRIC_DISAGREEMENT, harm=amount(16, 1))))
    shown.steps[0].step.mode = policy_pb2.MODE_SHADOW
    lines = [str(line) for line in forecast_lines("churn", shown)]
    assert lines[1] == "shadow 5 % for at most 1 h"
    assert "+2 pt: 16 mirrored rows · 1 s" in lines[3]


def test_an_ab_test_says_what_better_takes() -> None:
    lines = [
        str(line) for line in forecast_lines("churn", answer(step(gate("f1", policy_pb2.METRIC_F1, primary=True))))
    ]
    assert "better by 2 pt: 1,317 labels · 5 min" in lines[3]
    assert lines[-1] == "  It ends when the version is shown to be better, or after 1 h."


@pytest.mark.parametrize(
    ("late", "told"),
    [
        (
            step(gate("errors", policy_pb2.METRIC_ERRORS), concludes=False, longer=30_000, larger=4_200),
            "it needs --period 9h, or --share 42%.",
        ),
        (
            step(gate("errors", policy_pb2.METRIC_ERRORS), concludes=False, larger=4_200),
            "no period is long enough with this share: it needs --share 42%.",
        ),
        (step(gate("errors", policy_pb2.METRIC_ERRORS), concludes=False, longer=300_000), "it needs --period 4d."),
        (step(gate("errors", policy_pb2.METRIC_ERRORS, safe=None), concludes=False), "no period is long enough"),
        (
            step(gate("f1", policy_pb2.METRIC_F1, safe=amount(9, None)), concludes=False),
            "nothing that f1 counts was seen.",
        ),
        (
            step(gate("f1", policy_pb2.METRIC_F1, safe=None, stable=math.nan), concludes=False),
            "nothing that f1 counts was seen.",
        ),
    ],
)
def test_what_would_help(late: evaluator_pb2.StepForecast, told: str) -> None:
    assert told in advice(late)
    assert "cannot conclude in its period" in str(forecast_lines("churn", answer(late))[-1])


def test_a_harm_is_written_as_a_gate_and_a_number() -> None:
    assert parse_drop("accuracy=2%") == evaluator_pb2.Harm(gate="accuracy", by=0.02)
    assert parse_drop("recall of fraud = 0.1").gate == "recall of fraud"
    for wrong in ("accuracy", "=0.1", "accuracy=much"):
        with pytest.raises(UsageError, match="--drop"):
            parse_drop(wrong)


def moment(
    sequence: int, action: analysis_pb2.Action.ValueType, ago: float, name: str = ""
) -> evaluator_pb2.ReplayedDecision:
    return evaluator_pb2.ReplayedDecision(sequence=sequence, time=at(ago), action=action, gate=name, reason="because.")


def test_a_replay_that_parts() -> None:
    rollout = Rollout(name="models/churn/rollouts/8", version="v3", stable_version="v1", start_time=at(3_000))
    found = evaluator_pb2.ReplayResponse(
        looks=31,
        parts_at=29,
        recorded=[moment(20, analysis_pb2.ACTION_ADVANCE, 2_800)],
        replayed=[moment(31, analysis_pb2.ACTION_ROLLBACK, 2_640, "accuracy")],
    )
    assert replay_text(rollout, found, "strict.yaml") == (
        "Rollout 8: v3 against v1, 31 looks replayed by strict.yaml.\n"
        "  recorded  look 20, 3 min 20 s after its start: next step. because.\n"
        "  replayed  look 31, 6 min after its start: ROLL BACK for accuracy. because.\n"
        "The first look that concludes otherwise is look 29."
    )


def test_a_replay_that_is_not_done() -> None:
    rollout = Rollout(name="models/churn/rollouts/8", version="v3", stable_version="v1", start_time=at(3_000))
    found = evaluator_pb2.ReplayResponse(looks=1, last=analysis_pb2.Summary(reason="waits for labels"))
    assert replay_text(rollout, found, "") == (
        "Rollout 8: v3 against v1, 1 look replayed by its own policy.\n"
        "  recorded  nothing was decided\n"
        "  replayed  nothing was decided\n"
        "Every look concludes what was recorded.\n"
        "At its last look: waits for labels."
    )
