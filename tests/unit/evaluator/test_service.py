"""Looks through the ports: what is recorded, what is done, and what happens when something is in the way."""

import pytest

from crossfade.common.v1 import analysis_pb2
from evaluator.ports import (
    EndedError,
    RefusedError,
    SupersededError,
)
from evaluator.rpc import proto_summary, proto_views
from evaluator.verdict.decision import Action, Phase
from services.common.telemetry import catalog
from tests.fakes.clock import ManualClock
from tests.fakes.metrics import Behaviour
from tests.unit.evaluator.world import NAME, TRACE, World, world


async def test_looks_are_recorded_and_a_good_version_is_promoted_with_its_span() -> None:
    made = world()
    await made.looks(made.evaluator(), 40)
    assert [one.action for one in made.ledger.acted] == [Action.PROMOTE]
    assert made.ledger.acted[0].trace_ids == (TRACE, "no trace id")
    assert [look.sequence for look in made.ledger.looks] == list(range(1, len(made.ledger.looks) + 1))
    assert [look.judged for look in made.ledger.looks[:2]] == [False, True]
    span = made.spans.get_finished_spans()[0]
    assert span.name == "crossfade.evaluator promote"
    assert span.attributes is not None
    assert span.attributes["crossfade.version"] == "v2"
    assert [f"{link.context.trace_id:032x}" for link in span.links] == [TRACE]
    assert span.attributes["crossfade.gate.errors.verdict"] == "PASS"
    log_e, bar = (span.attributes[f"crossfade.gate.accuracy.safe.{key}"] for key in ("log_e", "bar"))
    assert isinstance(log_e, float)
    assert isinstance(bar, float)
    assert log_e >= bar


async def test_a_look_that_is_not_due_waits() -> None:
    made = world()
    evaluator = made.evaluator()
    assert await evaluator.look(NAME) == 2.0
    made.flow(0.5)
    assert await evaluator.look(NAME) == pytest.approx(1.5)
    made.flow(1.4)
    assert await evaluator.look(NAME) == 2.0
    assert len(made.ledger.looks) == 2


async def test_an_evaluator_whose_clock_is_behind_still_looks() -> None:
    made = world()
    await made.evaluator().look(NAME)
    behind = World(made.ledger, made.source, ManualClock(made.clock.now() - 300.0), made.spans)
    evaluator = behind.evaluator()
    assert await evaluator.look(NAME) == 2.0
    behind.flow()
    assert await evaluator.look(NAME) == 2.0
    assert len(made.ledger.looks) == 2


@pytest.mark.parametrize("taken_over", [False, True], ids=["set back", "taken over"])
async def test_harm_is_judged_by_a_clock_that_is_behind_that_of_the_looks_before(*, taken_over: bool) -> None:
    made = world()
    evaluator = made.evaluator()
    await made.looks(evaluator, 3)
    made.clock.set(-300.0)
    made.source.fleet.now -= 300.0
    made.source.fleet.test = Behaviour(errors=0.3)
    await made.looks(made.evaluator() if taken_over else evaluator, 10)
    assert [(one.action, one.gate) for one in made.ledger.acted] == [(Action.ROLLBACK, "errors")]


async def test_a_restarted_evaluator_decides_as_one_that_never_ended() -> None:
    steady, killed = world(), world()
    await steady.looks(steady.evaluator(), 40)
    while not killed.ledger.acted:
        await killed.looks(killed.evaluator(), 1)
    assert killed.ledger.looks == steady.ledger.looks
    assert repr(killed.ledger.decisions) == repr(steady.ledger.decisions)


async def test_a_look_at_any_moment_is_recorded_as_it_was_concluded() -> None:
    made = world()
    evaluator = made.evaluator()
    for _ in range(8):
        made.flow(2.0 + 1.7e-7)
        await evaluator.look(NAME)
    assert [look.judged for look in made.ledger.looks[-2:]] == [True, True]
    for look, decision in zip(made.ledger.looks, made.ledger.decisions, strict=True):
        message = analysis_pb2.Analysis(sequence=look.sequence, summary=proto_summary.to_proto(decision))
        concluded = proto_views.concluded(message)
        assert (concluded.look.time, concluded.look.elapsed) == (look.time, look.elapsed)
        assert concluded.at == decision.at


async def test_an_evaluator_takes_in_what_another_one_recorded() -> None:
    made = world()
    one, other = made.evaluator(), made.evaluator()
    for evaluator in (one, one, other, one, other, other):
        made.flow()
        await evaluator.look(NAME)
    assert len(made.ledger.looks) == 6
    total = sum(
        sum(s.counts) for look in made.ledger.looks for i in look.window for s in i.series if "outcome" in s.values()
    )
    cursor = sum(sum(s.counts) for i in made.ledger.cursor for s in i.series if "outcome" in s.values())
    first = made.ledger.looks[0]
    assert not any("outcome" in s.values() for i in first.window for s in i.series)
    assert 0 < total < cursor


async def test_a_look_that_was_overtaken_counts_nothing() -> None:
    made = world()
    evaluator = made.evaluator()
    await evaluator.look(NAME)
    made.flow()
    late = made.ledger.view
    await made.evaluator().look(NAME)
    made.flow()
    made.ledger.view = late
    with pytest.raises(SupersededError):
        await evaluator.look(NAME)
    assert len(made.ledger.looks) == 2


async def test_what_the_registry_refuses_is_decided_again_by_the_next_look() -> None:
    made = world()
    made.source.fleet.test = Behaviour(errors=0.3)
    made.ledger.refusal = RefusedError("too few Workers are ready")
    evaluator = made.evaluator()
    for _ in range(10):
        made.flow()
        await evaluator.look(NAME)
    assert made.ledger.decisions[-1].action is Action.ROLLBACK
    assert not made.ledger.acted
    made.ledger.refusal = None
    await made.looks(evaluator, 1)
    assert [one.action for one in made.ledger.acted] == [Action.ROLLBACK]


async def test_a_sum_that_is_no_number_hides_no_failures() -> None:
    made = world()
    made.source.fleet.test = Behaviour(errors=0.3)
    router = made.source.fleet.routers[0]
    series = router.store.histogram(catalog.FEEDBACK_VALUE, "digits", "v2", "live", "", "1.1")
    series.total = float("inf")
    series.counts[-1] += 2
    await made.looks(made.evaluator(), 20)
    assert [(one.action, one.gate) for one in made.ledger.acted] == [(Action.ROLLBACK, "errors")]


async def test_an_ended_rollout_is_forgotten() -> None:
    made = world(phase=None)
    assert await made.evaluator().look(NAME) == 1.0
    assert not made.ledger.looks
    made = world()
    made.ledger.refusal = EndedError("promoted by a person")
    made.source.fleet.test = Behaviour(errors=0.3)
    with pytest.raises(EndedError):
        await made.looks(made.evaluator(), 20)


async def test_while_it_waits_looks_are_recorded_and_not_judged() -> None:
    made = world(phase=Phase.WAITING, stable="", step_start=0.0)
    await made.looks(made.evaluator(), 3)
    assert [look.judged for look in made.ledger.looks] == [False] * 3
    assert made.ledger.decisions[-1].reason.startswith("v2 is ready; waits until v1 carries all of the traffic")


async def test_silent_processes_hold_and_the_reason_names_one() -> None:
    made = world()
    made.source.fleet.rate = 50.0
    evaluator = made.evaluator()
    await made.looks(evaluator, 3)
    made.source.silent = frozenset({"worker-1"})
    await made.looks(evaluator, 3)
    assert not made.ledger.decisions[-1].holds
    await made.looks(evaluator, 1)
    hold = (
        "metrics of 50.0 % of the processes are younger than 6 s, and 95.0 % are needed "
        "(worker-1: it did not answer in time)"
    )
    assert made.ledger.decisions[-1].holds == (hold,)
    await made.looks(evaluator, 60)
    assert [one.action for one in made.ledger.acted] == [Action.CANCEL]
