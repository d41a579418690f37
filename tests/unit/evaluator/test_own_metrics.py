"""Counts of the user's own, asked for by PromQL: what is evidence, and what is said where it is none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from evaluator.evidence.fold import fold_all
from evaluator.evidence.state import Look, start
from evaluator.gates.rates import RateGate
from evaluator.ports import ProcessView
from evaluator.questions.forecast import forecast
from evaluator.questions.traffic import Traffic
from evaluator.sources.own_metrics import MOST_SERIES, OwnMetrics
from evaluator.sources.prometheus_series import PrometheusError, RawSeries
from evaluator.terms import Terms
from evaluator.window.counts import Counts
from evaluator.window.readings import Reading
from evaluator.window.windows import take
from services.common.policy.defaults import complete_policy
from services.common.policy.drafts import GateDraft, PolicyDraft
from services.common.policy.metrics import MetricKind, shown_in
from services.common.policy.records import GateMargin, Meaning
from tests.fakes.clock import ManualClock
from tests.fakes.rollouts import demo_plan, demo_policy, demo_terms

REFUNDS = GateDraft(
    MetricKind.CUSTOM,
    name="refunds",
    required=True,
    bad_query="sum by (version, shop) (refunds_total)",
    total_query="sum by (version, shop) (orders_total)",
    safe=GateMargin(1.5, 0.02),
)
ERRORS = GateDraft(MetricKind.ERRORS, required=True)
TERMS = demo_terms(demo_policy(gates=(ERRORS, REFUNDS)), demo_plan(2000), features=0)
PLAIN = demo_terms(demo_policy(gates=(ERRORS,)), demo_plan(2000), features=0)


@dataclass
class Nothing:
    """A source without processes."""

    def age(self, terms: Terms) -> float:
        del terms
        return 1.0

    async def read(self, processes: Sequence[ProcessView], terms: Terms, timeout: float) -> Sequence[Reading]:
        del processes, terms, timeout
        return []


@dataclass
class Shops:
    """Counters of two shops, and the Prometheus that has them."""

    orders: dict[tuple[str, str], int] = field(default_factory=dict)
    refunds: dict[tuple[str, str], int] = field(default_factory=dict)
    asked: list[tuple[str, int]] = field(default_factory=list)
    failure: PrometheusError | None = None

    def sell(self, shop: str, version: str, orders: int, refunds: int) -> None:
        key = (shop, version)
        self.orders[key] = self.orders.get(key, 0) + orders
        self.refunds[key] = self.refunds.get(key, 0) + refunds

    async def evaluate(self, expression: str, at: int, timeout: float) -> Sequence[RawSeries]:
        del timeout
        self.asked.append((expression, at))
        if self.failure is not None:
            raise self.failure
        counts: Mapping[tuple[str, str], float] = self.refunds if "refunds" in expression else self.orders
        return [RawSeries({"shop": shop, "version": version}, {at: n}) for (shop, version), n in counts.items()]


async def fold_own(rates: Mapping[str, float], looks: int = 40, seed: int = 1) -> RateGate:
    """A rollout in which shops sell 1,000 things a look, of which so many come back."""
    chance, shops, clock = np.random.default_rng(seed), Shops(), ManualClock()
    source = OwnMetrics(Nothing(), shops, clock)
    cursor: Counts = ()
    found = []
    for number in range(looks):
        clock.advance(2.0)
        for shop in ("north", "south"):
            for version, orders in (("v1", 400), ("v2", 100 if number > 2 else 0)):
                shops.sell(shop, version, orders, int(chance.binomial(orders, rates[version])))
        taken = take(cursor, await source.read((), TERMS, 1.0), first=number == 0)
        cursor = taken.cursor
        found.append(Look(number + 1, 1, 10.0, 0, number > 2, taken.window))
    gate = fold_all(TERMS, found).gates[1]
    assert isinstance(gate, RateGate)
    return gate


async def test_both_queries_are_asked_at_one_moment() -> None:
    shops, clock = Shops(), ManualClock()
    await OwnMetrics(Nothing(), shops, clock).read((), TERMS, 1.0)
    assert [expression for expression, _ in shops.asked] == [REFUNDS.bad_query, REFUNDS.total_query]
    assert len({at for _, at in shops.asked}) == 1
    await OwnMetrics(Nothing(), shops, clock).read((), PLAIN, 1.0)
    assert len(shops.asked) == 2


async def test_a_version_that_is_alike_is_safe_and_one_with_more_refunds_does_harm() -> None:
    alike = await fold_own({"v1": 0.05, "v2": 0.05})
    assert alike.safe.log_e > np.log(20.0)
    assert alike.harm.max_log_e < 1.0
    worse = await fold_own({"v1": 0.05, "v2": 0.12})
    assert worse.harm.max_log_e > np.log(1_000.0)
    assert worse.seen.test_rate == pytest.approx(0.12, abs=0.02)


async def test_each_count_is_in_one_window_and_what_a_set_of_labels_has_when_it_is_new_is_history() -> None:
    shops, clock = Shops(), ManualClock()
    source = OwnMetrics(Nothing(), shops, clock)
    shops.sell("north", "v1", 500, 5)
    taken = take((), await source.read((), TERMS, 1.0), first=True)
    assert all(not one.series for one in taken.window)
    shops.sell("north", "v1", 100, 1)
    shops.sell("south", "v1", 70, 2)
    taken = take(taken.cursor, await source.read((), TERMS, 1.0), first=False)
    assert sorted(series.counts for one in taken.window for series in one.series) == [(1, 99)]
    shops.sell("south", "v1", 10, 0)
    taken = take(taken.cursor, await source.read((), TERMS, 1.0), first=False)
    assert sorted(series.counts for one in taken.window for series in one.series) == [(0, 10)]


@dataclass
class Kept(Shops):
    """A Prometheus that remembers what it was like."""

    at: dict[int, tuple[dict[tuple[str, str], int], dict[tuple[str, str], int]]] = field(default_factory=dict)

    def keep(self, at: float) -> None:
        """Remembers the counts of this time."""
        self.at[round(at * 1000)] = dict(self.orders), dict(self.refunds)

    async def evaluate(self, expression: str, at: int, timeout: float) -> Sequence[RawSeries]:
        """What it was like then."""
        self.orders, self.refunds = self.at[at]
        return await super().evaluate(expression, at, timeout)


async def test_what_users_count_is_forecast_from_how_it_stands_and_how_it_grew_before() -> None:
    shops, clock = Kept(), ManualClock()
    both = replace(TERMS, test="v1")
    source = OwnMetrics(Nothing(), shops, clock)
    for shop in ("north", "south"):
        shops.sell(shop, "v1", 50_000, 2_500)
        shops.sell(shop, "v0", 70_000, 70_000)
    shops.keep(clock.now())
    clock.advance(300.0)
    shops.sell("north", "v1", 6_000, 300)
    shops.keep(clock.now())
    after = await source.read((), both, 1.0)
    traffic = Traffic.between(both, await source.earlier(both, 300.0, 1.0), after)
    assert traffic.seconds == 0.0
    (step,) = forecast(TERMS, traffic, {})
    found = step.gates[1]
    assert found.gate == "refunds"
    assert found.stable == pytest.approx(0.05, rel=0.01)
    # At 20 % of 20 things a second, after 2 s in which the split settles, at looks each 2 s.
    for amount in (found.safe, found.harm, found.enough):
        assert amount is not None
        assert 100 < amount.n < 10_000
        assert 0.0 <= amount.seconds - 2.0 - amount.n / 4.0 <= 2.0


async def test_what_could_not_be_read_before_is_not_forecast() -> None:
    shops, clock = Shops(failure=PrometheusError("Prometheus is away")), ManualClock()
    source = OwnMetrics(Nothing(), shops, clock)
    shops.sell("north", "v1", 500, 5)
    before = await source.earlier(TERMS, 300.0, 1.0)
    shops.failure = None
    (step,) = forecast(TERMS, Traffic.between(TERMS, before, await source.read((), TERMS, 1.0)), {})
    assert (step.left_out, [gate.gate for gate in step.gates]) == (("refunds",), ["errors"])


async def test_what_was_counted_before_a_late_first_answer_is_history() -> None:
    shops, clock = Shops(failure=PrometheusError("Prometheus is away")), ManualClock()
    source = OwnMetrics(Nothing(), shops, clock)
    shops.sell("north", "v1", 1_000_000, 5_000)
    shops.sell("north", "v2", 20_000, 4_000)
    taken = take((), await source.read((), TERMS, 1.0), first=True)
    shops.failure = None
    taken = take(taken.cursor, await source.read((), TERMS, 1.0), first=False)
    assert not taken.problems
    assert all(not one.series for one in taken.window)


async def test_counters_that_fell_count_anew_from_where_they_are() -> None:
    shops, clock = Shops(), ManualClock()
    source = OwnMetrics(Nothing(), shops, clock)
    shops.sell("north", "v1", 1_000, 50)
    taken = take((), await source.read((), TERMS, 1.0), first=True)
    shops.orders[("north", "v1")], shops.refunds[("north", "v1")] = 300, 20
    taken = take(taken.cursor, await source.read((), TERMS, 1.0), first=False)
    (problem,) = taken.problems
    assert (problem.lasting, problem.reason) == (
        False,
        "its counter custom went backwards, and counts anew from here",
    )
    assert not taken.window
    shops.sell("north", "v1", 100, 2)
    taken = take(taken.cursor, await source.read((), TERMS, 1.0), first=False)
    assert not taken.problems
    assert [series.counts for one in taken.window for series in one.series] == [(2, 98)]


async def test_bad_counts_that_belong_to_no_total_are_no_evidence() -> None:
    shops, clock = Shops(), ManualClock()
    source = OwnMetrics(Nothing(), shops, clock)
    shops.sell("north", "v1", 100, 0)
    shops.refunds[("returns", "v1")] = 60
    (reading,) = await source.read((), TERMS, 1.0)
    assert reading.series is None
    assert reading.error == (
        "refunds: bad_query gives {shop='returns', version='v1'}, and total_query has no series of these labels"
    )
    shops.refunds.clear()
    (reading,) = await source.read((), TERMS, 1.0)
    assert reading.series is None
    assert "bad_query gives no series" in reading.error
    shops.refunds[("north", "v1")] = 0
    (reading,) = await source.read((), TERMS, 1.0)
    assert reading.series


def test_a_shadow_step_does_not_wait_for_what_nobody_counts() -> None:
    assert not shown_in(MetricKind.CUSTOM, shadow=True)
    assert shown_in(MetricKind.CUSTOM, shadow=False)


async def test_a_server_that_fails_and_none_at_all_hold_the_rollout_and_say_why() -> None:
    shops, clock = Shops(failure=PrometheusError("Prometheus is away")), ManualClock()
    for source, why in (
        (OwnMetrics(Nothing(), shops, clock), "Prometheus is away"),
        (OwnMetrics(Nothing(), None, clock), "set CROSSFADE_EVALUATOR_PROMETHEUS"),
    ):
        taken = take((), await source.read((), TERMS, 1.0), first=True)
        (problem,) = taken.problems
        assert problem.instance_id == "promql/refunds"
        assert why in problem.reason


async def test_queries_that_give_nothing_at_all_hold_a_rollout_that_needs_them_and_say_why() -> None:
    shops, clock = Shops(), ManualClock()
    source = OwnMetrics(Nothing(), shops, clock)
    taken = take((), await source.read((), TERMS, 1.0), first=True)
    (problem,) = taken.problems
    assert problem.instance_id == "promql/refunds"
    assert problem.reason.startswith("refunds: neither of its queries gives a series: ")
    # Of a gate that is watched only there may be nothing to see.
    watched = demo_terms(demo_policy(gates=(ERRORS, replace(REFUNDS, required=False))), demo_plan(2000), features=0)
    assert await source.read((), watched, 1.0) == []
    # What there was before the first sale is for a forecast to know.
    assert await source.earlier(TERMS, 300.0, 1.0) == []


@pytest.mark.parametrize(
    ("labels", "orders", "refunds", "said"),
    [
        ({"shop": "north"}, 10.0, 1.0, "have no label `version`"),
        ({"version": "v1"}, 10.5, 1.0, "which is no count"),
        ({"version": "v1"}, float("nan"), 1.0, "which is no count"),
        ({"version": "v1"}, -3.0, 1.0, "which is no count"),
        ({"version": "v1"}, 10.0, 11.0, "bad_query counts 11 of v1 and total_query only 10"),
    ],
)
async def test_what_is_no_count_is_no_evidence(
    labels: dict[str, str], orders: float, refunds: float, said: str
) -> None:
    class Odd(Shops):
        async def evaluate(self, expression: str, at: int, timeout: float) -> Sequence[RawSeries]:
            del timeout
            return [RawSeries(labels, {at: refunds if "refunds" in expression else orders})]

    (reading,) = await OwnMetrics(Nothing(), Odd(), ManualClock()).read((), TERMS, 1.0)
    assert reading.series is None
    assert said in reading.error


async def test_a_series_for_each_user_is_no_evidence_and_one_for_each_of_many_processes_is() -> None:
    shops = Shops()
    for number in range(MOST_SERIES):
        shops.sell(f"shop {number}", "v1", 10, 1)
    readings = await OwnMetrics(Nothing(), shops, ManualClock()).read((), TERMS, 1.0)
    assert len(readings) == MOST_SERIES
    shops.sell("one more", "v1", 10, 1)
    (reading,) = await OwnMetrics(Nothing(), shops, ManualClock()).read((), TERMS, 1.0)
    assert reading.series is None
    assert reading.error.startswith("refunds: bad_query gives 10,001 series, and at most 10,000 are followed: sum by ")


@pytest.mark.parametrize("query", ["bad_query", "total_query"])
async def test_series_that_differ_by_name_alone_are_no_evidence(query: str) -> None:
    """As of a selector by several names: only one of them would be counted."""

    class Named(Shops):
        async def evaluate(self, expression: str, at: int, timeout: float) -> Sequence[RawSeries]:
            found = list(await super().evaluate(expression, at, timeout))
            several = ("web", "app") if expression == getattr(REFUNDS, query) else ("web",)
            return [replace(one, labels={**one.labels, "__name__": name}) for one in found for name in several]

    shops = Named()
    shops.sell("north", "v1", 100, 2)
    (reading,) = await OwnMetrics(Nothing(), shops, ManualClock()).read((), TERMS, 1.0)
    assert reading.series is None
    assert reading.error == (
        f"refunds: {query} gives several series that differ by name alone, one of them "
        "{__name__='app', shop='north', version='v1'}; sum them: sum by (version, instance) (…)"
    )


async def test_counts_may_be_as_old_as_the_policy_allows() -> None:
    clock = ManualClock()
    assert OwnMetrics(Nothing(), Shops(), clock).age(TERMS) == TERMS.policy.stale_after
    assert OwnMetrics(Nothing(), Shops(), clock).age(PLAIN) == 1.0
    assert start(TERMS).gates[1].gate.name == "refunds"


def test_queries_are_asked_for_and_are_for_no_other_metric() -> None:
    bare = GateDraft(MetricKind.CUSTOM, required=True, bad_query="x")
    (violation,) = complete_policy(PolicyDraft(gates=(bare,)), Meaning("other"))[1]
    assert violation.field == "policy.gates[0].total_query"
    long = GateDraft(MetricKind.CUSTOM, required=True, bad_query="x", total_query="x" * 2_001)
    (violation,) = complete_policy(PolicyDraft(gates=(long,)), Meaning("other"))[1]
    assert "at most 2000" in violation.description
    other = GateDraft(MetricKind.ERRORS, required=True, bad_query="x")
    (violation,) = complete_policy(PolicyDraft(gates=(other,)), Meaning("other"))[1]
    assert violation.field == "policy.gates[0].bad_query"
