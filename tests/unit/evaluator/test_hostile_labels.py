"""A caller that sends one label 10,000 times and forges ids turns no verdict round."""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pytest

from crossfade.predict.v1 import predict_pb2
from evaluator.verdict.decision import Action
from services.common import feedback_rpc
from services.common.feedback import FeedbackBook
from services.common.prediction_token import TokenKeys
from services.common.telemetry import catalog
from tests.fakes.clock import ManualClock
from tests.fakes.hostile_labels import FIRST_REPEATS, KEY, SentLabels
from tests.fakes.metrics import CLASSES, Behaviour, Fleet
from tests.fakes.rollouts import Trial, demo_plan, demo_terms

Status = predict_pb2.ObservationResult.Status
GOOD, BAD = Behaviour(), Behaviour(wrong=0.2)
SLANDER = {"v2": False}
PRAISE = {"v2": True, "v1": False}


class Counting:
    """A fleet whose labels the product counts."""

    def __init__(self, test: Behaviour, claims: Mapping[str, bool]) -> None:
        self.results: Counter[str] = Counter()
        self.labels = SentLabels(send=self._send, claims=claims)
        self.fleet = Fleet(demo_terms(plan=demo_plan(5000)), np.random.default_rng(4), test=test, labels=self.labels)
        self._clock = ManualClock(self.fleet.now)
        keys = TokenKeys({1: KEY}, signing=1)
        self._book = FeedbackBook(keys, self.fleet.routers[0].store, self._clock, lambda model, version: CLASSES)

    def _send(self, observations: list[predict_pb2.Observation]) -> None:
        self._clock.advance(self.fleet.now - self._clock.now())
        for first in range(0, len(observations), feedback_rpc.MOST_OBSERVATIONS):
            request = predict_pb2.FeedbackRequest(observations=observations[first:][: feedback_rpc.MOST_OBSERVATIONS])
            for result in feedback_rpc.answer(self._book, request).results:
                self.results[Status.Name(result.status)] += 1

    def counted(self, metric: catalog.Metric) -> int:
        snapshots = self.fleet.routers[0].store.snapshot()
        return sum(sum(one.counts) for one in snapshots if one.metric is metric)


@pytest.mark.parametrize(
    ("test", "claims", "action", "gate"),
    [(GOOD, SLANDER, Action.PROMOTE, ""), (BAD, PRAISE, Action.ROLLBACK, "accuracy")],
    ids=["good", "bad"],
)
def test_repeated_and_forged_labels_leave_the_verdict_to_the_honest_ones(
    test: Behaviour, claims: Mapping[str, bool], action: Action, gate: str
) -> None:
    counting = Counting(test, claims)
    decision = Trial.begin(counting.fleet).run(150)
    labels, results = counting.labels, counting.results
    assert decision is not None
    assert (decision.action, decision.gate) == (action, gate), decision.reason
    assert labels.repeated == dict.fromkeys(claims, FIRST_REPEATS)
    assert counting.counted(catalog.FEEDBACK_COUNT) == results["STATUS_ACCEPTED"] == labels.sent
    assert counting.counted(catalog.FEEDBACK_DUPLICATE_COUNT) == results["STATUS_DUPLICATE"]
    assert results["STATUS_REFUSED"] == labels.forged > 1_000
    assert not results["STATUS_TOO_LATE"]
