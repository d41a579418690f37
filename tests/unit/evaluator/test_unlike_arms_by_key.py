"""By key: labels that do not reach both arms alike, where users label as they like and each is in one arm."""

from dataclasses import replace

import numpy as np
import pytest

from evaluator.evidence.ledger import Ledger
from evaluator.evidence.reach import ALIKE, Reach, reach_by_key
from evaluator.statistics.cohorts import CohortCounts
from evaluator.verdict.decide import decide
from evaluator.verdict.decision import Action, Decision
from evaluator.window.labels import Labels, SliceCounts
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.telemetry.catalog import COHORTS
from tests.fakes.keyed import KeyedFleet
from tests.fakes.metrics import Behaviour
from tests.fakes.rollouts import Trial, demo_plan
from tests.unit.evaluator.keyed_rollouts import ERRORS, keyed_terms

ACCURACY = GateDraft(MetricKind.ACCURACY, required=True)
TERMS = keyed_terms(ERRORS, ACCURACY, plan=demo_plan(5000, period=240.0))
KEY = 2, 0


def run(seed: int, part: dict[str, tuple[float, float]], wrong: float = 0.08) -> tuple[Decision, Decision]:
    """How a rollout ends, of which 90 % of the answers would get a label; and by the rules before."""
    fleet = KeyedFleet(TERMS, np.random.default_rng(seed), rate=400.0, test=Behaviour(wrong=wrong), part=part)
    made = Trial.begin(fleet, waiting_looks=4)
    decision = made.run(140)
    assert decision is not None
    assert decision.at is not None
    return decision, decide(made.state, replace(decision.at, rules=6))


@pytest.mark.parametrize("seed", range(2))
def test_a_worse_version_whose_wrong_answers_lack_labels_is_not_promoted(seed: int) -> None:
    """It is wrong on 14 % and stable on 8 %. By labels it is the better one; they reach the arms within 10 points."""
    decision, before = run(seed, {"v2": (1.0, 0.4)}, wrong=0.14)
    assert (decision.action, decision.code) == (Action.CANCEL, "TOO_LITTLE_EVIDENCE"), decision.reason
    assert decision.reason.startswith("the period ended, and labels do not reach both versions alike: 8")
    assert "what v2 lacks may be of its wrong answers" in decision.gates[1].waits_for
    assert before.action is Action.PROMOTE, before.reason


@pytest.mark.parametrize("seed", range(2))
def test_a_version_alike_is_not_blamed_for_what_labels_of_stables_wrong_answers_lack(seed: int) -> None:
    decision, before = run(seed, {"v1": (1.0, 0.2)})
    assert (decision.action, decision.code) == (Action.CANCEL, "TOO_LITTLE_EVIDENCE"), decision.reason
    assert "what v1 lacks may be of its wrong answers" in decision.reason
    assert (before.action, before.gate) == (Action.ROLLBACK, "accuracy"), before.reason


def labelled(test: float, stable: float, *, spread: float, seed: int = 0, used: int = COHORTS) -> Reach:
    """How labels reach 5,000 answers of each arm, of cohorts of which each labels more or less than others."""
    random, found = np.random.default_rng(seed), []
    n = np.full(COHORTS, 100.0)
    n[used:] = 0.0
    for share in (test, stable):
        by_cohort = random.binomial(n.astype(int), np.clip(share + spread * random.standard_normal(COHORTS), 0.0, 1.0))
        found.append(Labels(int(by_cohort.sum()), good_by=tuple(by_cohort.tolist())))
    counts = SliceCounts(int(n.sum()), int(n.sum()), found[0], found[1])
    failed = np.zeros(COHORTS)
    return reach_by_key(Ledger({KEY: counts}), [KEY], {KEY: CohortCounts(n, failed, n, failed)})


def test_users_who_label_as_they_like_are_no_sign_of_anything() -> None:
    # A gap of four points: of requests drawn one by one it would be five standard errors.
    assert labelled(0.6, 0.64, spread=0.0).unlike
    assert sum(labelled(0.6, 0.64, spread=0.2, seed=seed).unlike for seed in range(20)) <= 2
    assert not any(labelled(0.6, 0.6, spread=0.2, seed=seed).unlike for seed in range(50))
    found = labelled(0.4, 0.8, spread=0.2)
    assert found.unlike
    assert found.ratio == pytest.approx(0.5, abs=0.1)


def test_what_is_not_known_by_key_says_nothing() -> None:
    assert labelled(0.4, 0.8, spread=0.0, used=10) is ALIKE
    assert labelled(0.0, 0.8, spread=0.0) is ALIKE
    assert reach_by_key(Ledger({KEY: SliceCounts(10, 10)}), [KEY], {}) is ALIKE
