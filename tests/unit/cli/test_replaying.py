"""`crossfade replay --itself`, by its exact text."""

from crossfade.cli.actions.replaying import itself_text
from crossfade.common.v1 import analysis_pb2
from crossfade.evaluator.v1 import evaluator_pb2
from crossfade.registry.v1 import resources_pb2 as resources
from tests.unit.cli import samples

ROLLOUT = resources.Rollout(
    name="models/churn/rollouts/7", version="v2", stable_version="v1", start_time=samples.at(600)
)


def gate(name: str, log_e: float, verdict: "analysis_pb2.Verdict.ValueType") -> analysis_pb2.GateReport:
    return analysis_pb2.GateReport(
        gate=name,
        verdict=verdict,
        test=analysis_pb2.ArmCounts(n=1204),
        baseline=analysis_pb2.ArmCounts(n=21850),
        harm=analysis_pb2.Evidence(log_e=log_e, bar=5.0),
    )


def test_a_judge_that_is_not_misled() -> None:
    last = analysis_pb2.Summary(
        reason="no gate finds v1 worse than itself, nor better; errors came nearest, to 10 % of its bar"
    )
    last.gates.append(gate("errors", 0.5, analysis_pb2.VERDICT_CONTINUE))
    last.gates.append(analysis_pb2.GateReport(gate="runtime"))
    assert itself_text(ROLLOUT, evaluator_pb2.ReplayResponse(looks=118, last=last), "") == (
        "Rollout 7, A/A: v1's control arm against the rest of v1, 118 looks by the policy of the rollout.\n"
        "  errors: harm 10 % of its bar (1,204 against 21,850)\n"
        "No gate finds v1 worse than itself, nor better; errors came nearest, to 10 % of its bar."
    )


def test_a_judge_that_is_misled() -> None:
    last = analysis_pb2.Summary(gates=[gate("errors", 6.0, analysis_pb2.VERDICT_FAIL)])
    moment = evaluator_pb2.ReplayedDecision(
        sequence=31,
        time=samples.at(300),
        action=analysis_pb2.ACTION_ROLLBACK,
        gate="errors",
        reason="v1's control failed",
    )
    said = itself_text(ROLLOUT, evaluator_pb2.ReplayResponse(looks=118, last=last, replayed=[moment]), "strict.yaml")
    assert said.splitlines()[1:3] == [
        "  errors: harm found (1,204 against 21,850)",
        "  look 31, 5 min after its start: ROLL BACK for errors. v1's control failed.",
    ]
    assert "since v1 is the same in both arms" in said
