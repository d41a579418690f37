"""A caller that means harm, at a Router: one label 10,000 times, and ids of predictions that never were."""

import asyncio
import base64
import time

import pytest

from crossfade.predict.v1 import predict_pb2
from services.common.prediction_token import Prediction, TokenKeys
from services.common.telemetry import catalog
from tests.integration.router.house import KEY, House
from tests.support.worker import counted, metrics

TIMES = 10_000
SENDERS = 4
KEYS = TokenKeys({1: bytes.fromhex(KEY)}, 1)


def prediction(nonce: int) -> Prediction:
    """A row of the class churn by v1."""
    return Prediction(nonce, int(time.time() * 1000), 1, 5, 1, "churn", "v1", "", (1,))


@pytest.mark.parametrize("observed", ["label", "value"])
async def test_one_label_that_is_sent_10_000_times_at_once_counts_once(house: House, observed: str) -> None:
    await house.routes()
    said = predict_pb2.Observation(prediction_id=KEYS.sign(prediction(1)), row=0)
    if observed == "label":
        said.label = "keep"
    else:
        said.value = 3.5
    summaries = await asyncio.gather(*(house.client.report([said] * (TIMES // SENDERS)) for _ in range(SENDERS)))
    assert sum(one.accepted for one in summaries) == 1
    assert sum(one.duplicates for one in summaries) == TIMES - 1
    exported = await metrics(house.app.address)
    metric = catalog.FEEDBACK_COUNT if observed == "label" else catalog.FEEDBACK_VALUE
    assert counted(exported, metric) == counted(exported, metric, version="v1", slice="1.5") == 1
    assert counted(exported, catalog.FEEDBACK_DUPLICATE_COUNT) == TIMES - 1
    # All that a label is counted in beside: how long it took, and how the rows of a request are alike.
    assert counted(exported, catalog.FEEDBACK_LAG) == 1
    assert counted(exported, catalog.FEEDBACK_LATE_COUNT) == 0


async def test_of_10_000_forged_ids_none_counts(house: House) -> None:
    await house.routes()
    own = KEYS.sign(prediction(1))
    tag = base64.urlsafe_b64decode(own + "=" * (-len(own) % 4))[-16:]
    foreign = TokenKeys({1: b"x" * 16}, 1)
    forged: list[str] = []
    for nonce in range(2, 2 + TIMES // 2):
        other = foreign.sign(prediction(nonce))
        raw = base64.urlsafe_b64decode(other + "=" * (-len(other) % 4))
        # Signed with a key of its own, and under the tag of the only prediction that it has.
        forged += [other, base64.urlsafe_b64encode(raw[:-16] + tag).decode().rstrip("=")]
    assert len(set(forged)) == TIMES
    summary = await house.client.report(
        predict_pb2.Observation(prediction_id=one, row=0, label="keep") for one in forged
    )
    assert (summary.accepted, summary.duplicates, summary.too_late, len(summary.refused)) == (0, 0, 0, TIMES)
    exported = await metrics(house.app.address)
    for metric in (catalog.FEEDBACK_COUNT, catalog.FEEDBACK_LATE_COUNT, catalog.FEEDBACK_DUPLICATE_COUNT):
        assert counted(exported, metric) == 0
