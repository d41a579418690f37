"""The slowest batches in `status` and `explain`."""

from crossfade.cli.render.gate_words import arms_sentence
from crossfade.cli.render.gates import gates_table
from crossfade.common.v1.analysis_pb2 import VERDICT_CONTINUE, ArmCounts, Evidence, GateReport, Summary, Tail
from crossfade.common.v1.policy_pb2 import METRIC_RUNTIME, Policy


def gate() -> GateReport:
    return GateReport(
        gate="runtime",
        metric=METRIC_RUNTIME,
        verdict=VERDICT_CONTINUE,
        required=True,
        test=ArmCounts(n=400, estimate=0.00201),
        baseline=ArmCounts(n=410, estimate=0.00196),
        difference=0.02,
        low=-0.05,
        high=0.1,
        harm=Evidence(log_e=1.0, bar=5.8),
        safe=Evidence(log_e=4.0, bar=3.0),
        tail=Tail(
            test=ArmCounts(n=400, x=14, estimate=0.0203),
            baseline=ArmCounts(n=410, x=4, estimate=0.0031),
            safe=Evidence(log_e=0.6, bar=3.0),
        ),
    )


def test_the_tail_has_a_row_of_its_own_below_the_median() -> None:
    header, median, tail = (line.plain for line in gates_table(Summary(gates=[gate()]), Policy()))
    assert "safe" in header
    assert median.startswith("runtime ")
    assert tail.startswith("  runtime p99")
    assert "3.1 ms" in tail
    assert "20.3 ms" in tail
    assert "+2.5 pt beyond stable's p99" in tail
    assert tail.endswith("20 %")


def test_a_gate_that_asks_nothing_of_the_tail_has_one_row() -> None:
    without = gate()
    without.ClearField("tail")
    assert len(gates_table(Summary(gates=[without]), Policy())) == 2
    assert "p99" not in arms_sentence("v2", "v1", without, METRIC_RUNTIME)


def test_the_sentence_names_both_shares() -> None:
    said = arms_sentence("v2", "v1", gate(), METRIC_RUNTIME)
    assert said.endswith("; 3.50 % of them took longer than v1's p99 of their size, 0.98 % of v1's")
