"""What gates on pairs and on classes count of a step, need and foresee, beside the statistics that it is made of."""

import math
from dataclasses import replace

import numpy as np
import pytest

from evaluator.gates.balance import BalanceGate
from evaluator.gates.each_class import EachClassGate, Together
from evaluator.gates.paired import PairedGate
from evaluator.gates.rates import RateGate
from evaluator.statistics import means, power, rates
from evaluator.statistics.bets import Margin
from evaluator.statistics.counts import frozen
from evaluator.statistics.process import EProcess
from evaluator.window.labels import Labels, RateRow
from services.common.policy.metrics import EACH_CLASS, MetricKind
from services.common.policy.records import Gate, GateMargin, Need


def of(metric: MetricKind, harm: float = 0.01, safe: float = 0.05, **more: object) -> Gate:
    margins = GateMargin(offset=harm), GateMargin(offset=safe)
    return Gate(metric.value, metric, Need.ALWAYS, *margins, 1.0, **more)  # type: ignore[arg-type] # fields by name


def pairs(test_alone: int, stable_alone: int, both: int, right: int) -> list[tuple[Labels, Labels]]:
    rows = test_alone + stable_alone + both + right
    return [(Labels(rows, test_alone + both, alone=test_alone), Labels(rows, stable_alone + both, alone=stable_alone))]


def test_pairs_are_counted_for_the_step_and_begin_anew_with_it() -> None:
    gate = PairedGate.open(of(MetricKind.PAIRED_ACCURACY), 0.01)
    for _ in range(2):
        gate = gate.judge_harm(pairs(7, 3, 20, 70)).judge_safe(pairs(2, 3, 5, 40))
    assert (gate.test_n, gate.step_n, gate.needs) == (200, 100, math.inf)
    assert gate.safe.log_e != 0.0
    after = gate.restart()
    assert (after.step_n, after.safe.log_e, after.test_n) == (0, 0.0, 200)
    assert after.harm is gate.harm
    assert gate.freeze(0.01, 0.95, 0.1) is gate


@pytest.mark.parametrize("effect", [1.0, 2.5])
def test_pairs_are_foreseen_as_if_each_version_were_wrong_alone_as_often(effect: float) -> None:
    gate = PairedGate.open(of(MetricKind.PAIRED_ACCURACY), 0.01)
    assert gate.remaining(0.05, 0.1) is None
    gate = replace(gate.judge_harm(pairs(7, 3, 20, 70)), effect=effect)
    growth = means.mean_growth(gate.safe, np.array((0.05, 0.9, 0.05)))
    more = power.remaining(gate.safe.process, growth, 0.05)
    assert more is not None
    assert gate.remaining(0.05, 0.1) == math.ceil(more * effect)
    turned = replace(
        PairedGate.open(of(MetricKind.PAIRED_ACCURACY), 0.01).judge_harm(pairs(3, 7, 0, 90)), effect=effect
    )
    assert turned.remaining(0.05, 0.1) == gate.remaining(0.05, 0.1)


def test_pairs_that_never_show_it_are_not_foreseen() -> None:
    gate = PairedGate.open(of(MetricKind.PAIRED_ACCURACY, safe=0.0), 0.01).judge_harm(pairs(40, 40, 0, 20))
    assert gate.remaining(0.05, 0.1) is None


def each(*pasts: RateRow) -> EachClassGate:
    """A gate on as many classes, of each of which stable has counted a row."""
    classes = [f"c{number}" for number in range(len(pasts))]
    gate = EachClassGate.open(of(MetricKind.RECALL, positive=EACH_CLASS), 0.01, classes)
    return gate.each(lambda part: part.learn([pasts[classes.index(part.gate.positive)]]))


def judged(gate: EachClassGate, *rows: RateRow) -> EachClassGate:
    names = [part.gate.positive for part in gate.parts]

    def judge(part: RateGate) -> RateGate:
        row = [rows[names.index(part.gate.positive)]]
        return part.judge_harm(row).judge_safe(row)

    return gate.each(judge)


def some_harm(part: RateGate) -> EProcess:
    return replace(part.harm.process, max_log_e=frozen(0.1))


KNOWN, OFTEN, UNKNOWN = (0, 0, 400, 40), (0, 0, 400, 160), (0, 0, 3, 0)


def test_of_all_classes_the_one_that_waits_longest_is_foreseen_and_none_while_one_is_unknown() -> None:
    gate = each(OFTEN, KNOWN)
    one, other = (part.remaining(0.05, 0.1) for part in gate.parts)
    assert one is not None
    assert other is not None
    assert gate.remaining(0.05, 0.1) == max(one, other) == one > other
    assert each(KNOWN, UNKNOWN).remaining(0.05, 0.1) is None


def test_of_all_classes_the_one_that_lacks_most_of_what_it_needs_says_what_it_needs() -> None:
    gate = each(KNOWN, OFTEN).freeze(0.01, 0.95, 0.1)
    # Each has its part of the error alone.
    expected = [part.freeze(0.005, 0.95, 0.1).needs for part in each(KNOWN, OFTEN).parts]
    assert [part.needs for part in gate.parts] == expected
    gate = replace(
        gate, parts=tuple(replace(part, needs=needs) for part, needs in zip(gate.parts, (1_000.0, 150.0), strict=True))
    )
    gate = judged(gate, (500, 50, 500, 50), (100, 40, 500, 200))
    assert (gate.step_n, gate.needs) == (500, 1_000.0)
    assert each(KNOWN, UNKNOWN).freeze(0.01, 0.95, 0.1).needs is None


def test_all_classes_must_be_safe_and_begin_anew_together() -> None:
    gate = judged(each(KNOWN, KNOWN), (3_000, 250, 4_000, 400), (300, 30, 400, 40))
    first, second = (part.safe.log_e for part in gate.parts)
    assert gate.safe.log_e == min(first, second) == second < first
    after = gate.restart()
    assert [(part.safe.log_e, part.step_n) for part in after.parts] == [(0.0, 0), (0.0, 0)]
    assert [part.harm for part in after.parts] == [part.harm for part in gate.parts]


def test_harm_of_a_class_that_was_shown_once_stays_the_greatest() -> None:
    gate = each(KNOWN, KNOWN)
    for _ in range(3):
        gate = judged(gate, (100, 60, 400, 40), (100, 10, 400, 40))
    most = gate.harm.max_log_e
    assert most == gate.harm.log_e > 1.0
    gate = judged(gate, (3_000, 100, 400, 40), (3_000, 100, 400, 40))
    assert gate.harm.log_e < most == gate.harm.max_log_e
    assert gate.shown.gate.positive == "c0"


def test_without_harm_the_class_is_shown_that_safety_waits_for() -> None:
    gate = judged(each(KNOWN, KNOWN), (3_000, 250, 4_000, 400), (0, 0, 400, 40))
    assert gate.harm.max_log_e == 0.0
    assert gate.shown.gate.positive == gate.awaited.gate.positive == "c1"
    assert gate.test_n == 0
    # However little harm there is, the class that shows most of it is shown.
    suspected = replace(gate.parts[0], harm=replace(gate.parts[0].harm, process=some_harm(gate.parts[0])))
    assert replace(gate, parts=(suspected, gate.parts[1]), harm=Together(0.0, 0.1)).shown is suspected
    turned = judged(each(KNOWN, KNOWN), (0, 0, 400, 40), (3_000, 250, 4_000, 400))
    assert turned.shown.gate.positive == "c0"


CLASSES = ("a", "b", "c")


def balance(past: tuple[int, ...] = (200, 500, 300)) -> BalanceGate:
    gate = BalanceGate.open(of(MetricKind.CLASS_BALANCE), 0.01, CLASSES)
    return gate.learn([((0, 0, 0), past)])


def test_predictions_are_counted_for_the_step_where_stable_has_some_to_compare_with() -> None:
    gate = balance().judge([((10, 20, 30), (100, 0, 0)), ((1, 2, 3), (0, 0, 0))]).judge([((1, 0, 0), (0, 0, 9))])
    assert (gate.test_n, gate.step_n) == (67, 61)
    assert any(gate.safe.process.log_e)
    after = gate.restart()
    assert (after.test_n, after.step_n) == (67, 0)
    assert not any(after.safe.process.log_e)
    assert after.harm is gate.harm
    assert balance().judge([]).test_n == 0
    assert balance().learn([]).harm.n_past[0] == 1_000.0


def test_shares_are_learnt_of_the_classes_and_of_all_others() -> None:
    gate = balance().learn([((7, 7, 7), (1, 2, 3)), ((0, 0, 0), (0, 0, 4))])
    assert gate.harm.n_past.tolist() == gate.safe.n_past.tolist() == [1_010.0] * 6
    assert gate.harm.x_past.tolist() == [201.0, 502.0, 307.0, 809.0, 508.0, 703.0]
    assert gate.harm.log_e == 0.0


@pytest.mark.parametrize("past", [(200, 500, 300), (300, 200, 500), (100, 300, 600)])
def test_what_classes_need_is_what_the_share_that_varies_most_needs_among_all(past: tuple[int, int, int]) -> None:
    gate = replace(balance(past), effects=np.array((1.0, 3.0, 2.0)))
    nearest = min(past, key=lambda rows: abs(rows - 500))
    stable = (min(nearest, 1_000 - nearest) + 0.5) / 1_001.0 if nearest != 500 else 500.5 / 1_001.0
    single = rates.harm_test(Margin(0.01), 0.01)
    both = [
        power.needed(single.process, power.rate_growth(single, one + 0.05, one, 0.1), 0.01 / 6, 0.95)
        for one in (stable, 1.0 - stable)
    ]
    assert gate.harmed(0.05, 0.01, 0.95, 0.1) in both
    frozen_gate = gate.freeze(0.01, 0.95, 0.1)
    harmed = gate.harmed(0.05, 0.01, 0.95, 0.1)
    assert harmed is not None
    assert frozen_gate.needs == 3.0 * harmed
    # It was fixed by stable's past alone, and stays.
    assert frozen_gate.learn([((0, 0, 0), (9_000, 10, 10))]).freeze(0.01, 0.95, 0.1).needs == frozen_gate.needs


def test_of_classes_that_stable_has_hardly_answered_nothing_is_known() -> None:
    few, enough = balance((14, 35, 50)), balance((14, 35, 51))
    assert (few.freeze(0.01, 0.95, 0.1).needs, few.remaining(0.05, 0.1)) == (None, None)
    assert enough.freeze(0.01, 0.95, 0.1).needs is not None
    assert enough.remaining(0.05, 0.1) is not None
    assert balance().harmed(0.0, 0.01, 0.95, 0.1) is None
    never = BalanceGate.open(of(MetricKind.CLASS_BALANCE, safe=0.0), 0.01, CLASSES).learn(
        [((0, 0, 0), (200, 500, 300))]
    )
    assert never.freeze(0.01, 0.95, 0.1).needs == math.inf
    assert never.remaining(0.05, 0.1) is None
    # A share that is nearly all cannot grow by the whole margin.
    assert balance((970, 20, 10)).harmed(0.05, 0.01, 0.95, 0.1) is not None


def test_the_slowest_class_says_how_many_predictions_are_left() -> None:
    gate = balance().judge([((20, 50, 30), (200, 500, 300))])
    more = gate.remaining(0.05, 0.1)
    assert more is not None
    slowed = replace(gate, effects=np.array((1.0, 2.5, 1.0))).remaining(0.05, 0.1)
    assert slowed is not None
    assert 2.5 * (more - 1) < slowed <= math.ceil(2.5 * more)


def test_the_share_that_is_least_sure_is_the_one_that_is_foreseen() -> None:
    gate = balance((200, 500, 300))
    process = gate.safe.process
    lifted = np.array((3.0, 0.0, 0.0, 0.0, 0.0, 0.0))
    sure = replace(
        process,
        log_e=frozen(process.log_e + lifted),
        max_log_e=frozen(process.max_log_e + lifted),
        log_wealth=frozen(process.log_wealth + lifted[:, np.newaxis]),
    )
    after = replace(gate, safe=replace(gate.safe, process=sure)).remaining(0.05, 0.1)
    # Then the second class is, as if it were the first.
    assert after == balance((500, 200, 300)).remaining(0.05, 0.1) != gate.remaining(0.05, 0.1)


@pytest.mark.parametrize(("test", "name"), [((10, 60, 30), "b"), ((10, 5, 85), "c"), ((5, 20, 75), "a")])
def test_the_class_that_moved_most_has_moved_up_or_down(test: tuple[int, ...], name: str) -> None:
    # Shares of stable: 20 %, 10 % and 70 %.
    gate = balance().judge([(test, (200, 100, 700))])
    moved, place = gate.most_moved(), CLASSES.index(name)
    assert moved.name == name
    assert moved.difference.estimate == pytest.approx(test[place] / 100 - (0.2, 0.1, 0.7)[place])
    assert balance().most_moved().name == "a"
