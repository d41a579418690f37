"""Questions beside the looks: what a forecast takes from those that are due, and beside what a replay judges."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from evaluator.gates.opening import RequestGate
from evaluator.ports import ProcessView
from evaluator.questions.forecast import forecast
from evaluator.questions.questions import Other, Questions, ToCome
from evaluator.questions.traffic import Traffic
from evaluator.terms import Terms
from evaluator.verdict.decision import Phase
from evaluator.window.arm_rows import own_series
from evaluator.window.arms import OWN_PROCESS
from evaluator.window.counts import InstanceCounts
from evaluator.window.readings import Reading
from services.common.policy.defaults import complete_policy
from services.common.policy.drafts import GateDraft, PlanDraft, PolicyDraft, StepDraft
from services.common.policy.metrics import EACH_CLASS, MetricKind
from services.common.policy.records import Meaning, Objective
from tests.fakes.metrics import CLASSES
from tests.fakes.rollouts import demo_plan, demo_terms, trial
from tests.unit.evaluator.world import DRAFT, NAME, Counters, world

RECALLS = PolicyDraft(gates=(GateDraft(MetricKind.RECALL, required=True, positive=EACH_CLASS),))


@dataclass
class Watched(Counters):
    """A source that has nothing of the user's own."""

    async def earlier(self, terms: Terms, seconds: float, timeout: float) -> Sequence[Reading]:
        del terms, seconds, timeout
        return []


@dataclass
class Shops(Counters):
    """A source with counts of the user's own beside it, of a version that is over."""

    sold: int = 0

    async def read(self, processes: Sequence[ProcessView], terms: Terms, timeout: float) -> Sequence[Reading]:
        self.sold += 10
        own = own_series("refunds", "v0", self.sold, 0)
        shop = Reading(f"{OWN_PROCESS}refunds/north", round(self.fleet.now * 1e6), (own,), reused_id=True)
        return [shop, *await super().read(processes, terms, timeout)]


class Drops(dict[str, float]):
    """Harms that a forecast asks for, which the loop has to hand out."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self.turns = 0

    def get(self, name: str, default: float) -> float:  # type: ignore[override] # as a forecast asks
        self.turns += asyncio.run_coroutine_threadsafe(asyncio.sleep(0, 1), self._loop).result(5.0)
        return super().get(name, default)


class Counted(tuple[InstanceCounts, ...]):
    """Counts that know how often they were gone through."""

    times = 0

    def __iter__(self) -> Iterator[InstanceCounts]:
        self.times += 1
        return super().__iter__()


async def test_looks_go_on_while_a_forecast_is_computed() -> None:
    made = world()
    made.flow(60.0)
    drops = Drops(asyncio.get_running_loop())

    async def sleep(seconds: float) -> None:
        made.flow(seconds)

    questions = Questions(made.ledger, Watched(made.source.fleet), sleep)
    plan = PlanDraft((StepDraft(1000, period=60.0),))
    found = await questions.forecast(ToCome("digits", "", "v1", DRAFT, plan, Objective.NON_INFERIOR, drops, 10.0))
    assert [step.gates[0].gate for step in found.steps] == ["errors"]
    assert drops.turns >= len(found.steps[0].gates)


async def test_a_forecast_that_nobody_waits_for_any_more_ends() -> None:
    made = world()
    made.flow(60.0)

    class Last(dict[str, float]):
        """Harms whoever asks for which goes away at the first gate."""

        asked = 0

        def get(self, name: str, default: float) -> float:  # type: ignore[override] # as a forecast asks
            self.asked += 1
            asyncio.run_coroutine_threadsafe(give_up(), loop).result(5.0)
            return super().get(name, default)

    async def give_up() -> None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def sleep(seconds: float) -> None:
        made.flow(seconds)

    loop, drops = asyncio.get_running_loop(), Last()
    questions = Questions(made.ledger, Watched(made.source.fleet), sleep)
    plan = PlanDraft(tuple(StepDraft(1000 * number, period=60.0) for number in range(1, 6)))
    asked = ToCome("digits", "", "v1", DRAFT, plan, Objective.NON_INFERIOR, drops, 10.0)
    task = asyncio.create_task(questions.forecast(asked))
    with pytest.raises(asyncio.CancelledError):
        await task
    # Its thread is done when others are.
    await loop.shutdown_default_executor()
    assert drops.asked == 1


def test_what_is_known_of_a_gate_is_asked_once_for_all_steps_and_shares() -> None:
    class Asked(Traffic):
        """A lane's traffic that knows of which gates it was asked."""

        gates: ClassVar[list[str]] = []

        def informed(self, gate: RequestGate) -> RequestGate:
            self.gates.append(gate.gate.name)
            return super().informed(gate)

    terms = demo_terms(plan=demo_plan(100, 200, 1000, period=20.0), features=0)
    fleet = trial(3, terms).fleet
    both = replace(terms, test=terms.stable)
    before = [one.read(fleet.now, both) for one in fleet.instances]
    fleet.run(10.0)
    traffic = Asked.between(both, before, [one.read(fleet.now, both) for one in fleet.instances])
    steps = forecast(terms, traffic, {})
    assert any(step.larger for step in steps)
    assert Asked.gates == ["errors", "runtime", "accuracy"]


def gone_through(classes: Sequence[str]) -> int:
    """How often a forecast goes through what a lane has counted, by a gate on each of so many classes."""
    policy, violations = complete_policy(RECALLS, Meaning("classification", tuple(classes)))
    assert not violations
    terms = replace(demo_terms(policy, demo_plan(100, 1000), features=0), declared=tuple(classes))
    both = replace(terms, test=terms.stable)
    fleet = trial(3, terms).fleet
    fleet.share = 0
    before = [one.read(fleet.now, both) for one in fleet.instances]
    fleet.run(10.0)
    seen = Traffic.between(both, before, [one.read(fleet.now, both) for one in fleet.instances])
    counted, recent = Counted(seen.counted), Counted(seen.recent)
    assert len(forecast(terms, replace(seen, counted=counted, recent=recent), {})) == 2
    return counted.times + recent.times


def test_what_a_lane_counted_is_gone_through_as_often_for_many_classes_as_for_two() -> None:
    assert gone_through(CLASSES) == gone_through([*CLASSES, *(f"class {number}" for number in range(40))]) > 0


@pytest.mark.parametrize("stable", ["v3", ""])
async def test_a_rollout_that_never_ran_is_replayed_beside_what_was_stable_then(stable: str) -> None:
    made = world(phase=Phase.WAITING, stable="")
    made.source = Shops(made.source.fleet)
    evaluator, names = made.evaluator(), frozenset(one.name for one in made.source.fleet.instances)
    for silent in (names, frozenset[str]()):
        made.source.silent = silent
        await made.looks(evaluator, 2)
    assert [one.instance_id for one in made.ledger.looks[1].window if one.series] == [f"{OWN_PROCESS}refunds/north"]
    assert "waits until v1 carries all of the traffic" in made.ledger.decisions[-1].reason
    # It was given up, and another version took the lane.
    made.ledger.view = replace(made.ledger.view, phase=None)
    made.ledger.stable = stable
    found, violations = await Questions(made.ledger, Watched(made.source.fleet)).replay(NAME, Other())
    assert (found.looks, found.parts_at, violations) == (4, 0, ())
    assert found.last is not None
    assert found.last.reason == made.ledger.decisions[-1].reason


async def test_a_rollout_in_a_lane_where_nothing_was_stable_is_replayed_as_it_was_looked_at() -> None:
    made = world(phase=Phase.WAITING, stable="")
    made.ledger.stable = ""
    # Nothing has any traffic.
    made.source.silent = frozenset(one.name for one in made.source.fleet.instances)
    await made.looks(made.evaluator(), 2)
    found, _ = await Questions(made.ledger, Watched(made.source.fleet)).replay(NAME, Other())
    assert (found.looks, found.parts_at) == (2, 0)


@pytest.mark.parametrize(("stable", "previous"), [("v2", "v1"), ("v3", "v2")], ids=["it", "another version"])
async def test_a_rollout_that_replaced_what_was_never_ready_is_replayed_beside_that(stable: str, previous: str) -> None:
    made = world(phase=Phase.WAITING, stable="")
    # Nobody gets an answer, so that nothing is counted.
    made.source.silent = frozenset(one.name for one in made.source.fleet.instances)
    await made.looks(made.evaluator(), 2)
    assert "waits until v1 carries all of the traffic" in made.ledger.decisions[-1].reason
    # v1 could not be loaded, and v2 has the lane.
    made.ledger.stable, made.ledger.previous = stable, previous
    found, violations = await Questions(made.ledger, Watched(made.source.fleet)).replay(NAME, Other())
    assert violations == ()
    assert (found.looks, found.parts_at) == (2, 0)
