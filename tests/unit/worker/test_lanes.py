"""Where a Worker counts a request: by what the Router says, as far as that can be true."""

import pytest

from crossfade import metadata as keys
from services.worker.domain import Context, LaneContext, ServingKey, Traffic
from services.worker.front_end.lanes import LaneBook


def book() -> LaneBook:
    return LaneBook(ServingKey("churn", "v2", Traffic.LIVE))


def test_a_request_is_counted_under_the_cohort_that_the_router_names() -> None:
    lanes = book()
    assert lanes.place({keys.COHORT: "37"}, 0.0).cohort == 37
    assert lanes.place({keys.COHORT: "0"}, 0.0).cohort == 0
    assert lanes.place({}, 0.0).cohort == -1


@pytest.mark.parametrize("stated", ["", "-1", "50", "9" * 40, "seven", "1.5", "²"])
def test_what_is_no_cohort_is_none(stated: str) -> None:
    assert book().place({keys.COHORT: stated}, 0.0).cohort == -1


def test_requests_of_one_place_share_it_until_the_routes_change() -> None:
    lanes = book()
    lanes.update(Context((LaneContext("", 1, 60.0),)))
    place = lanes.place({}, 30.0)
    assert lanes.place({"traceparent": "x"}, 59.0) is place
    assert lanes.place({}, 61.0) is not place
    lanes.update(Context((LaneContext("", 2, 60.0),)))
    assert lanes.place({}, 30.0).epoch == 2


def test_a_request_is_counted_under_the_caller_that_the_router_names_if_a_gate_watches_it() -> None:
    lanes = book()
    lanes.update(Context((LaneContext("", 1, 60.0, ("eu",)),)))
    place = lanes.place({keys.CALLER: "eu", keys.COHORT: "7"}, 0.0)
    assert (place.cohort, place.caller) == (7, "eu")
    assert [lanes.place({keys.CALLER: stated}, 0.0).caller for stated in ("", "us", "x" * 64)] == ["", "", ""]
