"""Clocks that are set while a rollout runs: an Evaluator's, a Worker's, the Registry's."""

from dataclasses import replace

import pytest

from evaluator.evidence.fold import fold
from evaluator.evidence.passing import Passing
from evaluator.evidence.state import Look, State, start
from evaluator.gates.rates import RateGate
from evaluator.verdict.decide import decide
from evaluator.verdict.decision import Action, Circumstances, Phase
from evaluator.verdict.readiness import Serving
from evaluator.window.counts import Counts
from services.common.policy.drafts import PlanDraft, StepDraft
from tests.fakes.metrics import Behaviour
from tests.fakes.rollouts import demo_plan, demo_policy, demo_terms
from tests.unit.evaluator.counted import series, window
from tests.unit.evaluator.world import DRAFT, world

HOUR, DAY, YEARS = 3_600.0, 86_400.0, 315_360_000.0
MOST = 90.0
LABELLED = demo_terms(demo_policy(min_age=300.0, look_interval=30.0), demo_plan(1000, period=3_600.0), features=0)


def labelled(number: int) -> Counts:
    """A slice's predictions, all labelled and all right."""
    at = {"segment": "", "slice": f"1.{number}", "traffic": "live"}
    counted = [
        series(f"crossfade.{metric}.count", rows, labels=("3",), version=version, **at, **more)
        for version, rows in (("v1", 500), ("v2", 50))
        for metric, more in (("prediction", {}), ("feedback", {"predicted": "3"}))
    ]
    return tuple(replace(one, series=tuple(counted)) for one in window(at=1.0))


def look(state: State, at: float, counts: Counts = (), *, judged: bool = True) -> State:
    read = tuple(replace(one, read_us=round(at * 1e6)) for one in counts or window(at=1.0))
    return fold(state, Look(state.sequence + 1, 1, 10.0, 0, judged, read, time=at))


def shown(state: State) -> int:
    """Labels of the test version that have shown it to be no worse."""
    gate = state.gates[-1]
    assert isinstance(gate, RateGate)
    return gate.step_n


def first(at: float = 1_000.0) -> State:
    return look(start(LABELLED), at, judged=False)


def looks(state: State, at: float, count: int) -> State:
    """Looks of every half minute from then on."""
    for number in range(count):
        state = look(state, at + 30.0 * number)
    return state


def test_labels_are_no_older_by_a_clock_of_the_evaluators_that_is_set_forward() -> None:
    state = look(first(), 1_030.0, labelled(102))
    assert shown(looks(state, 1_060.0, 8)) == 0
    assert shown(looks(state, 1_060.0, 10)) == 50
    # It passes for no more than three looks that were missed.
    assert shown(looks(state, 1_060.0 + HOUR, 6)) == 0
    assert shown(looks(state, 1_060.0 + HOUR, 8)) == 50


def test_labels_are_no_older_by_a_clock_of_a_workers_that_is_set_back() -> None:
    state = looks(first(), 1_030.0, 100)
    state = look(state, 4_030.0, labelled(102))
    assert shown(looks(state, 4_060.0, 8)) == 0
    assert shown(looks(state, 4_060.0, 12)) == 50


@pytest.mark.parametrize("ahead", [HOUR, YEARS])
def test_labels_count_after_a_first_look_by_a_clock_that_was_ahead(ahead: float) -> None:
    state = look(first(1_000.0 + ahead), 1_030.0, labelled(102))
    assert shown(looks(state, 1_060.0, 12)) == 50


def test_time_goes_on_after_a_clock_was_ahead_for_a_while() -> None:
    steady = looks(first(), 1_030.0, 30)
    state = looks(looks(look(first(), 1_030.0), 1_060.0 + YEARS, 2), 1_120.0, 27)
    assert steady.judged_seconds == 900.0
    assert state.judged_seconds == steady.judged_seconds - 30.0 + MOST - 30.0
    assert (state.time, state.passing.leapt) == (1_900.0, -30.0)


def test_time_passes_at_its_pace_where_looks_are_more_often_than_scrapes() -> None:
    terms = demo_terms(demo_policy(min_age=300.0, look_interval=2.0), demo_plan(1000, period=3_600.0), features=0)
    state = start(terms)
    for number in range(400):
        at = 1_000.0 + 2.0 * number
        read = tuple(replace(one, read_us=round((at - at % 15.0) * 1e6)) for one in labelled(102)[:1])
        counts = read if number == 20 else tuple(replace(one, series=()) for one in read)
        state = fold(state, Look(number + 1, 1, 10.0, 0, number > 0, counts, time=at))
        assert state.judged_seconds == pytest.approx(2.0 * number, abs=15.0)
        assert shown(state) == (50 if 2.0 * number > 355.0 else 0) or 335.0 < 2.0 * number <= 355.0


def test_a_clock_that_is_set_while_a_look_reads_passes_for_no_more_than_a_few_looks() -> None:
    state = look(first(), 1_030.0, labelled(102))
    read = tuple(replace(one, read_us=1_060_000_000) for one in window(at=1.0))
    state = fold(state, Look(state.sequence + 1, 1, 10.0, 0, True, read, time=1_060.0 + HOUR))
    state = looks(state, 1_090.0 + HOUR, 2)
    assert state.judged_seconds <= 120.0 + 2 * MOST
    assert shown(state) == 0


def test_two_evaluators_whose_clocks_differ_take_turns_and_time_passes_once() -> None:
    state = first()
    for number in range(1, 41):
        state = look(state, 1_000.0 + 30.0 * number + 300.0 * (number % 2))
    assert state.judged_seconds == pytest.approx(40 * 30.0, abs=MOST)


@pytest.mark.parametrize("seconds", [HOUR, DAY, YEARS, -HOUR, -999_000.0])
async def test_a_clock_that_is_set_ends_no_rollout_that_waits_for_its_version(seconds: float) -> None:
    made = world(phase=Phase.WAITING, stable="", step_start=0.0)
    made.ledger.serving = Serving.LOADING
    evaluator = made.evaluator()
    await made.looks(evaluator, 3)
    made.set_clock(seconds)
    await made.looks(evaluator, 3)
    made.set_clock(-seconds)
    await made.looks(evaluator, 3)
    assert (len(made.ledger.looks), made.ledger.acted) == (9, [])


def test_looks_of_before_conclude_as_they_did() -> None:
    state = replace(start(LABELLED), first_time=1_000.0, passing=Passing(1_060.0 + HOUR, HOUR - MOST))
    at = Circumstances(Phase.WAITING, 1_060.0 + HOUR)
    assert (decide(state, at).action, decide(state, replace(at, rules=2)).action) == (Action.NONE, Action.CANCEL)


@pytest.mark.parametrize("ahead", [HOUR, YEARS, -DAY])
async def test_a_step_that_began_or_paused_by_another_clock_of_the_registrys_goes_on(ahead: float) -> None:
    plan = PlanDraft((StepDraft(5000, 20.0, 60.0),))
    for begun in ({"step_start": 1_000_000.0 + ahead}, {"step_paused": ahead}):
        made = world(plan=plan, **begun)
        await made.looks(made.evaluator(), 60)
        assert [one.action for one in made.ledger.acted] == [Action.PROMOTE], begun
        assert 7 <= len(made.ledger.looks) <= 35


@pytest.mark.parametrize("seconds", [HOUR, YEARS, -HOUR, -999_000.0])
@pytest.mark.parametrize("errors", [0.0, 0.3])
async def test_a_clock_that_is_set_while_a_version_is_tested_changes_no_verdict(seconds: float, errors: float) -> None:
    made = world(policy=replace(DRAFT, min_age=6.0))
    made.source.fleet.test = Behaviour(errors=errors or Behaviour().errors)
    evaluator = made.evaluator()
    await made.looks(evaluator, 2)
    made.set_clock(seconds)
    await made.looks(evaluator, 2)
    made.set_clock(-seconds)
    await made.looks(evaluator, 60)
    assert [one.action for one in made.ledger.acted] == [Action.ROLLBACK if errors else Action.PROMOTE]


async def test_counts_settle_as_long_after_a_change_of_share_when_the_clock_is_set_forward() -> None:
    made = world(policy=replace(DRAFT, settling=20.0))
    evaluator = made.evaluator()
    await made.looks(evaluator, 2)
    made.set_clock(HOUR)
    await made.looks(evaluator, 3)
    assert not any(one.judged for one in made.ledger.looks)
    await made.looks(evaluator, 8)
    assert made.ledger.looks[-1].judged
