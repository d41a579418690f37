"""Looks through the ports: what is recorded, what is done, and what happens when something is in the way."""

import bisect
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from evaluator.evidence.settling import BOUNDS
from evaluator.evidence.state import Look
from evaluator.meters import Meters
from evaluator.ports import (
    EndedError,
    LaneView,
    ProcessView,
    Recorded,
    RefusedError,
    RolloutView,
    SupersededError,
    VersionView,
)
from evaluator.rollouts.service import Evaluator
from evaluator.rollouts.spans import Spans
from evaluator.terms import Terms
from evaluator.verdict.concluded import Concluded
from evaluator.verdict.decision import Action, Decision, Phase
from evaluator.verdict.readiness import Served, Serving
from evaluator.verdict.reports import Verdict
from evaluator.window.counts import Counts
from evaluator.window.readings import Reading
from services.common.policy.drafts import GateDraft, PlanDraft, PolicyDraft, StepDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Meaning, PeriodEnd
from services.common.telemetry import catalog
from services.common.telemetry.store import MetricStore
from tests.fakes.clock import ManualClock
from tests.fakes.inputs import reference
from tests.fakes.metrics import Behaviour, Fleet
from tests.fakes.rollouts import DEMO_GATES, demo_terms

NAME = "models/digits/rollouts/1"
DRAFT = PolicyDraft(gates=DEMO_GATES, look_interval=2.0, settling=2.0, min_age=1.0)


@dataclass
class Ledger:
    """A Registry in memory, by the port."""

    view: RolloutView
    epoch: int = 1
    stable: str = "v1"
    serving: Serving | None = Serving.READY
    looks: list[Look] = field(default_factory=list)
    cursor: Counts = ()
    decisions: list[Decision] = field(default_factory=list)
    acted: list[Decision] = field(default_factory=list)
    refusal: Exception | None = None

    async def live_rollouts(self) -> Sequence[RolloutView]:
        return [self.view]

    async def rollout(self, name: str) -> RolloutView:
        return self.view

    async def lane(self, model: str, segment: str) -> LaneView:
        return LaneView(self.epoch, 5.0, self.stable)

    async def version(self, model: str, version: str) -> VersionView:
        return VersionView(Meaning("classification"), reference({"v1": "p1", "v2": "p2"}[version], 2))

    async def recorded(self, name: str, after: int) -> AsyncIterator[Recorded]:
        for number in range(after, len(self.looks), 3):
            yield Recorded(tuple(self.looks[number : number + 3]), self.cursor)

    async def concluded(self, name: str) -> AsyncIterator[Concluded]:
        for look, one in zip(self.looks, self.decisions, strict=True):
            yield Concluded(look, one.at, one.action, one.gate, one.reason)

    async def processes(self) -> Sequence[ProcessView]:
        if self.serving is None:
            return []
        error_code = "LOAD_FAILED" if self.serving is Serving.FAILED else ""
        served = tuple(
            ("digits", Served(version, False, self.serving, error_code=error_code)) for version in ("v1", "v2")
        )
        return [ProcessView("router-1", "r:1", False), ProcessView("worker-1", "w:1", True, served)]

    async def record(self, name: str, look: Look, policy_hash: str, cursor: Counts, decision: Decision) -> None:
        if look.sequence != len(self.looks) + 1:
            raise SupersededError("taken")
        self.looks.append(look)
        self.cursor = cursor
        self.decisions.append(decision)
        self.view = replace(self.view, sequence=look.sequence)

    async def act(self, rollout: RolloutView, sequence: int, decision: Decision) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.acted.append(decision)


@dataclass
class Counters:
    """A source of the fleet's counts."""

    fleet: Fleet
    silent: frozenset[str] = frozenset()
    late: float = 0.0

    def age(self, terms: Terms) -> float:
        return self.late

    async def read(self, processes: Sequence[ProcessView], terms: Terms, timeout: float) -> Sequence[Reading]:
        return [
            Reading(one.name, round(self.fleet.now * 1e6), None, "it did not answer in time")
            if one.name in self.silent
            else one.read(self.fleet.now, terms)
            for one in self.fleet.instances
        ]


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Noted:
    """A Router that kept one trace."""

    async def of(self, processes: Sequence[ProcessView], terms: Terms) -> tuple[str, ...]:
        del processes
        del terms
        return (TRACE, "no trace id")


@dataclass
class World:
    """Everything around an Evaluator."""

    ledger: Ledger
    source: Counters
    clock: ManualClock
    spans: InMemorySpanExporter

    def evaluator(self) -> Evaluator:
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.spans))
        return Evaluator(
            self.ledger,
            self.source,
            clock=self.clock,
            spans=Spans(provider.get_tracer("test")),
            traces=Noted(),
            meters=Meters(MetricStore()),
            log=structlog.wrap_logger(
                structlog.ReturnLogger(), wrapper_class=structlog.make_filtering_bound_logger(50)
            ),
            scrape_seconds=2.0,
        )

    def flow(self, seconds: float = 2.0) -> None:
        self.clock.advance(seconds)
        self.source.fleet.run(seconds)

    async def looks(self, evaluator: Evaluator, count: int) -> None:
        """Looks until something is done, `count` times at most."""
        for _ in range(count):
            self.flow()
            await evaluator.look(NAME)
            if self.ledger.acted:
                return


def world(**changes: object) -> World:
    clock = ManualClock(1_000_000.0)
    fleet = Fleet(demo_terms(), np.random.default_rng(3), now=clock.now(), share=5000, epoch=1, slice_seconds=5.0)
    view = RolloutView(
        name=NAME,
        model="digits",
        segment="",
        test="v2",
        stable="v1",
        phase=Phase.RUNNING,
        step=0,
        step_start=clock.now(),
        step_paused=0.0,
        pause_start=0.0,
        sticky=False,
        policy=DRAFT,
        plan=PlanDraft((StepDraft(5000, period=60.0),)),
        sequence=0,
        etag="e",
    )
    return World(Ledger(replace(view, **changes)), Counters(fleet), clock, InMemorySpanExporter())  # type: ignore[arg-type] # fields by name


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


async def test_where_nothing_runs_a_version_is_waited_for_as_long_as_anywhere_and_no_longer() -> None:
    made = world(phase=Phase.WAITING, stable="", step_start=0.0)
    made.ledger.serving, made.source.fleet.routers, made.source.fleet.workers = None, (), ()
    for minutes in range(15):
        made.clock.advance(60.0)
        # Whichever Evaluator it is that looks.
        await made.evaluator().look(NAME)
        assert (minutes, made.ledger.acted) == (minutes, [])
    made.clock.advance(60.0)
    await made.evaluator().look(NAME)
    assert [(one.action, one.code) for one in made.ledger.acted] == [(Action.CANCEL, "NOT_READY")]


async def test_a_lanes_first_version_that_cannot_be_loaded_holds_its_lane_no_longer() -> None:
    made = world(phase=Phase.WAITING, stable="", step_start=0.0)
    made.ledger.stable, made.ledger.serving = "", Serving.FAILED
    await made.looks(made.evaluator(), 1)
    assert [(one.action, one.code) for one in made.ledger.acted] == [(Action.ROLLBACK, "LOAD_FAILED")]


async def test_a_change_of_the_split_is_not_judged_until_it_has_settled() -> None:
    made = world()
    made.source.fleet.rate = 50.0
    evaluator = made.evaluator()
    await made.looks(evaluator, 4)
    made.ledger.epoch = made.source.fleet.epoch = 2
    await made.looks(evaluator, 3)
    assert [look.judged for look in made.ledger.looks] == [False, True, True, True, False, True, True]
    assert made.ledger.decisions[4].holds == ("the split has just changed; counts are judged again in 2 s",)


@pytest.mark.parametrize(
    ("seconds", "settles"),
    [(2.0, 4), (8.0, 16), (25.0, 30), (1e9, 30)],
    ids=["fast", "slow", "half", "beyond the last"],
)
async def test_a_split_settles_twice_as_long_as_stables_slow_answers_take(seconds: float, settles: int) -> None:
    """In half of the period (60 s) at most."""
    made = world()
    made.source.fleet.rate = 50.0
    made.source.fleet.slow = bisect.bisect_right(BOUNDS, seconds) - 1 if seconds < BOUNDS[-1] else len(BOUNDS)
    evaluator = made.evaluator()
    await made.looks(evaluator, 4)
    made.ledger.epoch = made.source.fleet.epoch = 2
    await made.looks(evaluator, 20)
    in_epoch = [look for look in made.ledger.looks if look.epoch == 2]
    first = next(look for look in in_epoch if look.judged)
    assert settles * 0.7 <= first.time - in_epoch[0].time <= settles + 2.0
    assert "since slow answers of v1 come so late" in made.ledger.decisions[in_epoch[0].sequence - 1].holds[0]


async def test_the_first_window_of_a_split_is_not_judged_however_short_it_settles() -> None:
    """It begins in the split before."""
    made = world(policy=replace(DRAFT, settling=0.0))
    made.source.fleet.rate = 50.0
    evaluator = made.evaluator()
    await made.looks(evaluator, 3)
    made.ledger.epoch = made.source.fleet.epoch = 2
    await made.looks(evaluator, 2)
    assert [look.judged for look in made.ledger.looks] == [False, True, True, False, True]


async def test_a_split_that_changes_while_nothing_can_be_read_settles_from_the_first_reading() -> None:
    """The window of that reading begins before the change."""
    made = world()
    made.source.fleet.rate = 50.0
    evaluator = made.evaluator()
    await made.looks(evaluator, 4)
    made.ledger.epoch = made.source.fleet.epoch = 2
    made.source.silent = frozenset({"router-1", "worker-1"})
    await made.looks(evaluator, 3)
    made.source.silent = frozenset()
    await made.looks(evaluator, 2)
    assert [look.judged for look in made.ledger.looks[4:]] == [False, False, False, False, True]


@pytest.mark.parametrize("end", [PeriodEnd.INCONCLUSIVE, PeriodEnd.ROLLBACK])
@pytest.mark.parametrize("before", ["looks while it waits", "no look", "a clock that is ahead"])
async def test_a_period_ends_only_after_as_much_time_in_which_somebody_looked(before: str, end: PeriodEnd) -> None:
    made = world(phase=Phase.WAITING, step_start=0.0, policy=replace(DRAFT, period_end=end))
    made.source.fleet.rate = 10.0
    if before == "looks while it waits":
        await made.looks(made.evaluator(), 3)
    begun = made.clock.now() - (120.0 if before == "a clock that is ahead" else 0.0)
    made.ledger.view = replace(made.ledger.view, phase=Phase.RUNNING, step_start=begun)
    made.ledger.epoch = made.source.fleet.epoch = 2
    if before != "a clock that is ahead":
        made.flow(180.0)
    known = len(made.ledger.looks)
    # Whichever Evaluator it is that looks.
    while not made.ledger.acted:
        await made.looks(made.evaluator(), 1)
        assert len(made.ledger.looks) < known + 40
    assert 60.0 - 6.0 <= 2.0 * (len(made.ledger.looks) - known) <= 60.0 + 6.0
    assert made.ledger.acted[0].code == "TOO_LITTLE_EVIDENCE"


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


async def test_a_rollout_that_cannot_be_judged_by_its_policy_is_ended() -> None:
    made = world(policy=replace(DRAFT, alpha_rollback=0.9))
    assert await made.evaluator().look(NAME) == 30.0
    assert made.ledger.decisions[0].reason.startswith(
        "it can't be judged by its policy (policy.alpha_rollback: 0.9 is out of range"
    )
    assert not made.ledger.looks[0].judged
    (acted,) = made.ledger.acted
    assert (acted.action, acted.verdict, acted.code) == (Action.CANCEL, Verdict.INCONCLUSIVE, "POLICY_INVALID")


async def test_a_rollout_that_a_newer_release_started_is_ended_with_what_this_one_does_not_know() -> None:
    made = world(unknown=("plan.steps[0].mode",), objective=None)
    await made.evaluator().look(NAME)
    (acted,) = made.ledger.acted
    assert (acted.action, acted.code) == (Action.CANCEL, "POLICY_INVALID")
    assert acted.reason == (
        "it can't be judged by its policy (plan.steps[0].mode: this release of the Evaluator does not know it; "
        "objective: this release of the Evaluator does not know it); start it again with another"
    )


async def test_a_policy_by_key_that_an_older_release_took_is_judged_by_what_can_be() -> None:
    gates = tuple(GateDraft(metric, required=True) for metric in (MetricKind.ERRORS, MetricKind.RUNTIME))
    made = world(sticky=True, policy=replace(DRAFT, gates=gates))
    await made.looks(made.evaluator(), 5)
    assert not made.ledger.acted
    assert [(one.gate, one.required) for one in made.ledger.decisions[-1].gates] == [
        ("errors", True),
        ("runtime", False),
    ]
