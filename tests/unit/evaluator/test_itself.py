"""A/A: the judge judges itself by what was recorded."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from evaluator.evidence.state import Look
from evaluator.questions.aa_test import itself, judge_itself, relabelled
from evaluator.questions.replay import CompactedError
from evaluator.verdict.concluded import Concluded
from evaluator.verdict.decision import Action
from evaluator.verdict.reports import Verdict
from evaluator.window.counts import Counts, Series, arrange
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Limit
from tests.fakes.metrics import Behaviour, Fleet
from tests.fakes.rollouts import Trial, demo_plan, demo_policy, demo_terms


def recorded(seed: int = 1) -> Trial:
    """A rollout of a version that is rolled back late, with 20 % of the traffic."""
    fleet = Fleet(demo_terms(), np.random.default_rng(seed), rate=400.0)
    fleet.test = Behaviour(errors=0.01)
    made = Trial.begin(fleet)
    for _ in range(60):
        made.look()
        if made.outcome is not None:
            break
    return made


async def said(looks: Sequence[Look]) -> AsyncIterator[Concluded]:
    for look in looks:
        yield Concluded(look, None, Action.NONE, "", "")


def failing(window: Counts, traffic: str) -> Counts:
    """The window in which every answer of one of stable's arms has failed."""

    def failed(one: Series) -> Series:
        at = one.values()
        if one.metric != "crossfade.attempt.duration" or (at["version"], at["traffic"]) != ("v1", traffic):
            return one
        return replace(one, attributes=tuple(sorted((at | {"outcome": "INTERNAL"}).items())))

    return tuple(
        replace(one, series=arrange({series.key: series for series in map(failed, one.series)})) for one in window
    )


@pytest.mark.parametrize("seed", range(3))
async def test_no_harm_is_found_where_there_is_none(seed: int) -> None:
    made = recorded(seed)
    found = await judge_itself(made.fleet.terms, said(made.looks))
    assert found.looks == len(made.looks)
    assert found.replayed == ()
    assert found.last is not None
    assert found.last.reason.startswith("no gate finds v1 worse than itself, nor better")
    errors = found.last.gates[0]
    # Control against the rest of stable, and nothing of the version under test.
    assert 0 < errors.test.n < errors.baseline.n
    assert errors.test.estimate < 0.006


@pytest.mark.parametrize(("traffic", "worse"), [("control", "v1's control failed "), ("live", "v1 failed ")])
async def test_traffic_that_misleads_the_judge_is_found(traffic: str, worse: str) -> None:
    made = recorded()
    looks = [replace(look, window=failing(look.window, traffic)) for look in made.looks]
    found = await judge_itself(made.fleet.terms, said(looks))
    (moment,) = found.replayed
    assert (moment.action, moment.gate) == (Action.ROLLBACK, "errors")
    assert moment.reason.startswith(worse)
    assert found.last is not None
    errors = found.last.gates[0]
    assert errors.verdict is Verdict.FAIL
    # The arm that is found to be worse is the one under test.
    assert (errors.test.n < errors.baseline.n) is (traffic == "control")


async def test_a_control_process_that_is_slower_is_not_found_and_that_is_said() -> None:
    fleet = Fleet(demo_terms(), np.random.default_rng(2), rate=400.0, control=Behaviour(seconds=0.003))
    made = Trial.begin(fleet)
    made.run(20)
    found = await judge_itself(fleet.terms, said(made.looks))
    assert found.last is not None
    assert found.replayed == ()
    assert ". Runtimes were not judged: they are recorded of v1's control alone" in found.last.reason
    assert found.last.reason.endswith(
        "whether its process is slower than the others, by which a slower version would pass"
    )
    unasked = demo_policy(gates=(GateDraft(MetricKind.ERRORS, required=True),))
    without = await judge_itself(replace(fleet.terms, policy=unasked), said(made.looks))
    assert without.last is not None
    assert "Runtimes" not in without.last.reason


async def test_a_stable_version_beyond_a_limit_is_no_worse_than_itself() -> None:
    gates = (
        GateDraft(MetricKind.ERRORS, required=True),
        GateDraft(MetricKind.ERRORS, name="few failures", limit=Limit(at_most=0.005)),
    )
    fleet = Fleet(demo_terms(demo_policy(gates=gates)), np.random.default_rng(2), rate=400.0)
    fleet.stable = fleet.test = Behaviour(errors=0.05)
    made = Trial.begin(fleet)
    for _ in range(30):
        made.look()
    found = await judge_itself(fleet.terms, said(made.looks))
    assert found.last is not None
    assert found.replayed == ()
    assert found.last.reason.startswith("no gate finds v1 worse than itself")
    assert [one.gate for one in found.last.gates] == ["errors"]


async def test_with_half_of_the_traffic_there_is_no_rest_to_compare_with() -> None:
    fleet = Fleet(demo_terms(plan=demo_plan(5000)), np.random.default_rng(2), rate=400.0)
    made = Trial.begin(fleet, waiting_looks=0)
    for _ in range(6):
        made.look()
    found = await judge_itself(fleet.terms, said(made.looks))
    assert found.last is not None
    assert found.last.reason == "nothing can be compared: v1's control had all of v1's traffic, as with a share of 50 %"


async def test_runtimes_and_the_version_under_test_are_left_out() -> None:
    made = recorded()
    terms = itself(made.fleet.terms)
    window = relabelled(made.looks[-1].window, terms)
    versions = {(series.metric, series.values()["version"]) for one in window for series in one.series}
    assert ("crossfade.attempt.duration", "v1's control") in versions
    assert not any(version == "v2" for _, version in versions)
    assert not any(metric == "crossfade.inference.duration" for metric, _ in versions)


async def test_a_look_that_is_missing_is_said() -> None:
    made = recorded()
    with pytest.raises(CompactedError):
        await judge_itself(made.fleet.terms, said(made.looks[1:]))


async def test_a_rollout_before_its_traffic_has_nothing_to_compare() -> None:
    made = recorded()
    found = await judge_itself(made.fleet.terms, said(made.looks[:1]))
    assert found.last is not None
    assert "nothing was counted" in found.last.reason
