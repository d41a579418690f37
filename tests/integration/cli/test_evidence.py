"""What the command shows of a recorded look: the evidence of every gate, in words and as numbers."""

import pytest
from google.protobuf.duration_pb2 import Duration

from crossfade.common.v1 import analysis_pb2
from crossfade.common.v1.policy_pb2 import METRIC_ACCURACY, METRIC_ERRORS, METRIC_RUNTIME
from tests.integration.cli.conftest import Command, Json
from tests.integration.cli.stack import Stack
from tests.unit.cli.samples import live_summary

GATES = """\
  errors: undecided. v2 failed 0.00 % of 5,120 attempts, v1 0.02 % of 97,300; −0.02 (−0.06 … +0.31) pt
    evidence of harm: 2 % of what rolls it back; of being safe: 86 % of what promotion needs
    waits for about 900 more attempts of v2: 45 s at this traffic
  runtime: safe. v2 took 3.2 ms a batch at the median (4,800 batches), v1 3.1 ms (4,790); +2 % (−3 … +6) %
    evidence of harm: 4 % of what rolls it back; of being safe: all of what promotion needs
  accuracy: undecided. v2 was right on 92.1 % of 1,204 labels, v1 on 91.8 % of 22,900; +0.3 (−1.4 … +2.1) pt
    evidence of harm: 1 % of what rolls it back; of being safe: 71 % of what promotion needs
    waits for about 380 more mature labels of v2: 3 min at this traffic
  Inputs: no drift (largest: age, 0.03 of 0.10).
  At look 1: waits for about 380 more mature labels of v2: 3 min at this traffic.
"""
"""What `explain` says of the look."""
TABLE = """\
     gate      stable  test    difference (95 % interval)  harm        safe
     errors    0.02 %  0.00 %  −0.02 (−0.06 … +0.31) pt    ░░░░░  2 %  ██████░░ 86 %
     runtime   3.1 ms  3.2 ms  +2 % (−3 … +6) %            ░░░░░  4 %  ████████ safe
     accuracy  91.8 %  92.1 %  +0.3 (−1.4 … +2.1) pt       ░░░░░  1 %  █████░░░ 71 %
     inputs: no drift (largest: age, 0.03 of 0.10)
     waits for about 380 more mature labels of v2: 3 min at this traffic
     waits for about 900 more attempts of v2: 45 s at this traffic
"""
"""What `status` says of it."""
NOBODY = "127.0.0.1:1"
"""Nothing answers there."""


def summary() -> analysis_pb2.Summary:
    """What a look in the middle of a rollout concludes; what is waited for is forecast."""
    said = live_summary()
    forecasts = {
        "errors": (METRIC_ERRORS, 900, 45),
        "runtime": (METRIC_RUNTIME, 0, 0),
        "accuracy": (METRIC_ACCURACY, 380, 180),
    }
    for gate in said.gates:
        gate.metric, gate.needed, seconds = forecasts[gate.gate]
        gate.needed_time.CopyFrom(Duration(seconds=seconds))
    return said


@pytest.fixture
def looked_at(stack: Stack, running: str) -> str:
    """A model whose rollout was looked at once."""
    stack.look(f"models/{running}/rollouts/1", summary())
    return running


def test_a_live_rollout_is_shown_with_the_evidence_of_its_latest_look(crossfade: Command, looked_at: str) -> None:
    said = crossfade("explain", looked_at).stdout
    assert said.startswith("Rollout 1: v2 is RUNNING at 5 % against v1, step 1 of 2, ")
    assert said.endswith(f"{GATES}  Next: crossfade status {looked_at} -w\n")
    assert GATES in crossfade("explain", looked_at, "--rollout", "1").stdout
    status = crossfade("status", looked_at).stdout
    assert " · look 1, " in status
    assert TABLE in status


def test_the_numbers_of_a_look_are_read_as_they_were_recorded(crossfade_json: Json, looked_at: str) -> None:
    analysis = crossfade_json("explain", looked_at)["analysis"]
    assert analysis["sequence"] == "1"
    recorded = summary()
    assert len(analysis["summary"]["gates"]) == len(recorded.gates) == 3
    for told, gate in zip(analysis["summary"]["gates"], recorded.gates, strict=True):
        assert told["gate"] == gate.gate
        assert told["verdict"] == analysis_pb2.Verdict.Name(gate.verdict)
        for arm in ("test", "baseline"):
            of_arm = getattr(gate, arm)
            assert told[arm] == {"n": str(of_arm.n), "x": str(of_arm.x), "estimate": of_arm.estimate}
        assert (told["low"], told["difference"], told["high"]) == (gate.low, gate.difference, gate.high)
        assert told["harm"] == {"log_e": gate.harm.log_e, "bar": gate.harm.bar}
        assert told["safe"] == {"log_e": gate.safe.log_e, "bar": gate.safe.bar}
        assert (told["waits_for"], told["needed"]) == (gate.waits_for, str(gate.needed))
        assert told["needed_time"] == f"{gate.needed_time.seconds}s"
    assert crossfade_json("status", looked_at)["lanes"][0]["analysis"] == analysis


def test_the_evidence_is_read_from_the_registry_alone(
    crossfade: Command, crossfade_json: Json, stack: Stack, looked_at: str
) -> None:
    alone = "--evaluator", NOBODY, "--router", NOBODY
    explained = crossfade_json("explain", looked_at)
    (lane,) = crossfade_json("status", looked_at)["lanes"]
    stack.report_router(NOBODY)
    try:
        assert crossfade("explain", looked_at, *alone).stdout.endswith(
            f"{GATES}  Next: crossfade status {looked_at} -w\n"
        )
        assert crossfade_json("explain", looked_at, *alone) == explained
        status = crossfade("status", looked_at, *alone).stdout
        (told,) = crossfade_json("status", looked_at, *alone)["lanes"]
    finally:
        stack.report_router(stack.router)
    # What Routers count is missing, and is said to be.
    assert status.endswith(
        f"{TABLE} note: no Router could be read ({NOBODY}), so requests, runtimes and errors are not shown\n"
    )
    assert (
        (told["rollout"], told["analysis"])
        == (lane["rollout"], lane["analysis"])
        == (explained["rollout"], explained["analysis"])
    )
