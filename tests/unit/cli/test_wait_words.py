"""Few labels that can show safety, told apart from the many that a gate's figures are of."""

import pytest

from crossfade.cli.render.explain import explain
from crossfade.cli.render.gates import waiting_lines
from crossfade.cli.render.status import summary_lines
from crossfade.common.v1 import policy_pb2 as policy
from crossfade.common.v1.analysis_pb2 import GateReport, Summary
from crossfade.registry.v1 import resources_pb2 as resources
from tests.fakes.metrics import Behaviour
from tests.unit.cli import samples
from tests.unit.evaluator.test_one_class import GATES, outcome

NEEDED = "and 10 of each are needed, since without any a bad version has the same F1"
RECORDED = f"labels of rows that are malignant: 0 of v2's and 0 of v1's, {NEEDED}"
TOLD = (
    "labels that can show it to be safe, in this step, of rows that are malignant: 0 of v2's and 0 of v1's, " + NEEDED
)
WHY = "(the figures above are of all labels that harm is judged by; to show it to be safe this step's alone count, "


def f1(n: int = 7) -> GateReport:
    """A gate that has seen n rows of v2, none of them for safety."""
    gate = samples.gate("f1", (n, 0, 0.077), (584, 0, 0.04), (0.037, -0.2, 0.3), 0.1, 0.0, RECORDED)
    gate.metric, gate.positive_class = policy.METRIC_F1, "malignant"
    return gate


def test_a_live_rollout_says_which_labels_it_waits_for() -> None:
    look = samples.live_analysis()
    look.summary.CopyFrom(Summary(reason=f"waits for {RECORDED}", gates=[f1()]))
    lines = explain("churn", samples.rollout(), look, samples.NOW).splitlines()
    assert lines[1].startswith("  f1: undecided. v2's F1 for malignant was 0.923 (7 rows), v1's 0.960 (584); ")
    assert lines[3] == f"    waits for {TOLD}"
    assert lines[4].startswith(f"    {WHY}")
    assert lines[5] == f"  At look 42: waits for {TOLD}."
    assert waiting_lines(look.summary) == [f"waits for {TOLD}"]
    look.summary.gates[0].required = False
    assert summary_lines(look.summary, samples.rollout())[-1].plain == f"waits for {TOLD}"


def test_where_nothing_was_seen_there_are_no_figures_to_tell_apart() -> None:
    look = samples.live_analysis()
    look.summary.CopyFrom(Summary(gates=[f1(0)]))
    assert WHY not in explain("churn", samples.rollout(), look, samples.NOW)


@pytest.mark.parametrize(("code", "said"), [("TOO_LITTLE_EVIDENCE", TOLD), ("PERSON", RECORDED)])
def test_what_has_ended_says_which_labels_it_lacked_and_a_persons_words_stay(code: str, said: str) -> None:
    ended = samples.rollout(resources.ROLLOUT_STATE_INCONCLUSIVE)
    ended.end_time.CopyFrom(samples.at(12))
    ended.outcome.code, ended.outcome.reason = code, f"f1 lacks {RECORDED}"
    ended.outcome.summary.gates.append(f1())
    told = explain("churn", ended, None, samples.NOW)
    assert f"  Reason: f1 lacks {said}.\n" in told
    assert WHY not in told
    assert ("(f1 waited for labels that can show it to be safe, " in told) is (code != "PERSON")


def test_the_words_are_those_that_the_evaluator_records() -> None:
    made, decision = outcome(GATES[0], Behaviour(), 0.0)
    assert "f1 lacks labels of rows that are 3: " in decision.reason
    waiting = next(report for report in made.decisions[-1].gates if report.gate == "f1").waits_for
    assert waiting.startswith("labels of rows that are 3: ")
