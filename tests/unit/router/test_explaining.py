"""GetRoute's words, by which people understand where a request went."""

from dataclasses import replace
from typing import Any

import pytest

from crossfade.router.v1 import router_pb2
from router.explaining import RouterServicer
from router.noted_traces import NotedTraces
from router.split import ArmName
from router.table import Lane, Target
from services.common.clock import SystemClock
from services.common.feedback import FeedbackBook
from services.common.prediction_token import TokenKeys
from tests.unit.router.house import House, lane

BUCKET = 4641
"""Of the key that is asked for."""


async def explained(*lanes: Lane, segment: str = "") -> Any:
    house = House(*lanes)
    book = FeedbackBook(TokenKeys({1: b"k" * 16}, 1), house.store, SystemClock(), house.proxy.table.classes)
    servicer = RouterServicer(house.proxy, NotedTraces(), book)
    context: Any = None
    request = router_pb2.GetRouteRequest(model="churn", key="user-1", segment=segment)
    return await servicer.GetRoute(request, context)


@pytest.mark.parametrize(
    ("test", "control", "expected"),
    [
        (5_000, 0, "test has the 5000 buckets from 0 on"),
        (4_000, 1_000, "control has the 1000 buckets from 4000 on"),
        (1_000, 1_000, "stable has the 8000 buckets from 2000 on"),
    ],
)
async def test_it_names_the_arm_that_has_the_bucket(test: int, control: int, expected: str) -> None:
    answer = await explained(lane(test=test, control=control, sticky=True))
    assert answer.reason == f"the key's bucket is {BUCKET}; {expected}"


async def test_an_arm_without_a_process_leaves_its_buckets_to_stable() -> None:
    """As control's, where a Worker had no memory for its process."""
    one = lane(test=4_000, control=1_000, sticky=True)
    answer = await explained(replace(one, arms={**one.arms, ArmName.CONTROL: Target("v1", "control", ())}))
    assert (answer.version, answer.bucket) == ("v1", BUCKET)
    assert answer.reason == (
        f"the key's bucket is {BUCKET}; control has the 1000 buckets from 4000 on and no process, so stable has it"
    )


async def test_a_segments_lane_with_nothing_stable_is_told_from_none() -> None:
    default = lane(sticky=True)
    empty = replace(default, segment="eu", arms={}, pins={})
    rest = f"; the key's bucket is {BUCKET}; stable has all buckets"
    told = [(await explained(default, empty, segment=segment)).reason for segment in ("eu", "us")]
    assert told == [
        f"the segment 'eu' has nothing stable in its lane{rest}",
        f"the segment 'us' has no lane of its own{rest}",
    ]
