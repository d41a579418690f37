"""Answers in parts without an engine: what feeds what, when a row ends, what is repeated."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from services.worker.front_end.stepping import StepPlan, Steps
from services.worker.shared_memory.tensors import Inputs

# Inputs: step (constant), total (fed by total). Outputs: total (sent), ended.
PLAN = StepPlan(feeds={1: 0}, parts=(0,), until=1, max_parts=10)


def inputs(steps: Sequence[float]) -> Inputs:
    rows = len(steps)
    return Inputs((np.array(steps).reshape(rows, 1), np.zeros((rows, 1))), rows)


def run(steps: Steps, most: float = 10.0) -> None:
    """One step: total grows by step, and a row ends when it has reached `most`."""
    step, total = steps.inputs
    grown = total + step
    steps.take([grown, grown >= most], (grown[:, 0] % 3).astype(int).tolist())
    # What the engine's memory held is others' by now.
    grown[:] = -1


def test_outputs_feed_the_next_step_and_other_inputs_stay() -> None:
    steps = Steps(PLAN, inputs([1.0, 2.0]), 3)
    seen = []
    while not steps.done:
        run(steps)
        seen.append(steps.outputs[0].ravel().tolist())
    assert seen == [[1, 2], [2, 4], [3, 6]]
    assert steps.count == 3


def test_a_row_that_has_ended_is_not_run_and_repeats_its_last_values() -> None:
    steps = Steps(PLAN, inputs([5.0, 1.0, 10.0]), 10)
    rows, seen = [], []
    while not steps.done:
        rows.append(steps.rows)
        run(steps)
        seen.append(steps.outputs[0].ravel().tolist())
    assert rows[:4] == [3, 2, 1, 1]
    assert seen[1:4] == [[10, 2, 10], [10, 3, 10], [10, 4, 10]]
    assert steps.count == 10
    assert steps.classes == [1, 1, 1]


def test_the_last_part_is_the_one_at_which_every_row_has_ended() -> None:
    steps = Steps(PLAN, inputs([5.0, 10.0]), 10)
    run(steps)
    assert not steps.done
    run(steps)
    assert steps.done
    assert steps.count == 2


def test_a_version_without_a_loop_answers_one_part_of_all_its_outputs() -> None:
    plan = StepPlan(feeds={}, parts=(0, 1), until=None, max_parts=1)
    steps = Steps(plan, inputs([1.0]), plan.max_parts)
    outputs: list[Any] = [np.ones((1, 2)), np.zeros((1, 1))]
    steps.take(outputs, ())
    assert steps.done
    assert [array.shape for array in steps.outputs] == [(1, 2), (1, 1)]
