"""How long a batch has run."""

import pytest

from services.worker.version.hanging import RunningTime


def test_a_batch_is_seen_to_run_on() -> None:
    running = RunningTime(1.0, 100.0)
    assert running.look(0.0, 101.0) == 0.0
    assert [running.look(101.5, now) for now in (102.0, 103.0, 104.0)] == [0.5, 1.5, 2.5]
    assert running.look(104.5, 105.0) == 0.5


def test_it_runs_for_two_usual_times_between_looks_at_most() -> None:
    running = RunningTime(0.5, 100.0)
    assert running.look(100.5, 100.5) == 0.0
    assert running.look(100.5, 110.5) == pytest.approx(1.0)


def test_while_the_machine_stands_still_nothing_runs() -> None:
    running = RunningTime(1.0, 100.0)
    assert running.look(100.5, 101.0) == 0.5
    assert running.look(100.5, 141.0) == pytest.approx(2.5)
    assert running.look(100.5, 142.0) == pytest.approx(3.5)
    # One that began just before.
    assert running.look(142.5, 182.5) == pytest.approx(2.0)
    assert running.look(0.0, 230.0) == 0.0
    assert running.look(230.5, 231.0) == 0.5
