"""What is counted by arm, epoch, cohort and caller for those who judge, and when it is dropped."""

from dataclasses import replace

from router.split import bucket_of
from router.table import Table
from services.common.telemetry import catalog
from tests.fakes.transport import fail
from tests.unit.router.house import TEST, House, cohorts, lane


def drawn(house: House) -> dict[str, int]:
    """Requests by the arm that was drawn for them, of the newest epoch."""
    found = [one for one in house.store.snapshot() if one.metric is catalog.ROUTE_COUNT]
    newest = max((int(one.attributes[-1]) for one in found), default=0)
    return {one.attributes[2]: sum(one.counts) for one in found if one.attributes[-1] == str(newest)}


async def test_requests_are_counted_by_the_arm_that_was_drawn_whoever_answers() -> None:
    house = House(lane(test=10_000))
    house.transport.behaviors[TEST] = fail("INTERNAL")
    for _ in range(40):
        await house.predict()
    await house.predict(pin="v1")
    # The breaker has opened meanwhile, and stable has answered all of them.
    assert drawn(house) == {"test": 40}
    sticky = House(lane(test=5_000, sticky=True))
    await sticky.predict(key="user-1")
    assert drawn(sticky) == {}


async def test_the_worker_is_told_traffic_and_epoch() -> None:
    house = House(lane(test=10_000))
    await house.predict()
    said = house.transport.sent[0].metadata
    assert said == {"x-crossfade-traffic": "live", "x-crossfade-epoch": "3"}
    house.proxy.use(Table(2, {("churn", "eu"): replace(lane(epoch=4), segment="eu")}))
    await house.predict(segment="eu")
    said = house.transport.sent[1].metadata
    assert said == {"x-crossfade-traffic": "live", "x-crossfade-epoch": "4", "x-crossfade-segment": "eu"}


async def test_under_key_assignment_the_cohort_of_the_key_is_counted_and_told_to_the_worker() -> None:
    house = House(lane(test=10_000, sticky=True))
    cohort = bucket_of("churn", "user-1") % 50
    for _ in range(3):
        await house.predict(key="user-1")
    house.transport.behaviors[TEST] = fail("INTERNAL")
    await house.predict(key="user-1")
    assert house.transport.sent[0].metadata["x-crossfade-cohort"] == str(cohort)
    # What stable answers instead is judged for neither, and its traffic says so.
    assert cohorts(house) == {
        ("v2", "live", "ok"): {cohort: 3},
        ("v2", "live", "INTERNAL"): {cohort: 1},
        ("v1", "failover", "ok"): {cohort: 1},
    }


async def test_no_cohorts_are_counted_by_request_by_pin_or_while_nothing_is_tried() -> None:
    for house in (House(lane(test=5_000)), House(lane(sticky=True))):
        await house.predict(key="user-1")
        await house.predict(key="user-1", pin="v1")
        assert not cohorts(house)
        assert all("x-crossfade-cohort" not in sent.metadata for sent in house.transport.sent)


async def test_callers_in_a_watched_segment_are_counted_apart_and_told_to_the_worker() -> None:
    house = House(replace(lane(test=10_000), watched=frozenset({"eu"})))
    for segment in ("eu", "us", ""):
        await house.predict(segment=segment)
    await house.predict(segment="eu", pin="v1")
    found = [one for one in house.store.snapshot() if one.metric is catalog.CALLER_ATTEMPT_COUNT]
    assert [(one.attributes, one.counts) for one in found] == [
        (("churn", "v2", "live", "", "ok", "3", "eu"), (1,)),
    ]
    assert [sent.metadata.get("x-crossfade-caller") for sent in house.transport.sent] == ["eu", None, None, None]


async def test_cohorts_go_with_their_epoch() -> None:
    house = House(lane(test=10_000, sticky=True, epoch=1))
    await house.predict(key="user-1")
    for epoch in range(2, 7):
        house.proxy.use(Table(epoch, {("churn", ""): lane(test=10_000, sticky=True, epoch=epoch)}))
        await house.predict(key="user-1")
    kept = {one.attributes[-1] for one in house.store.snapshot() if one.metric is catalog.COHORT_ATTEMPT}
    assert kept == {"3", "4", "5", "6"}


async def test_series_of_old_epochs_are_dropped() -> None:
    house = House(lane(epoch=1))
    for epoch in range(1, 7):
        house.proxy.use(Table(epoch, {("churn", ""): lane(epoch=epoch)}))
        await house.predict()
    epochs = {
        snapshot.attributes[5] for snapshot in house.store.snapshot() if snapshot.metric is catalog.ATTEMPT_DURATION
    }
    assert epochs == {"3", "4", "5", "6"}


async def test_where_an_epoch_falls_the_series_of_those_that_never_were_are_dropped() -> None:
    house = House(lane(test=10_000, sticky=True, epoch=1))
    for epoch in (3, 4, 5, 4):
        house.proxy.use(Table(epoch, {("churn", ""): lane(test=10_000, sticky=True, epoch=epoch)}))
        await house.predict(key="user-1")
        await house.predict(key="user-1")
    counts = {
        (one.metric, one.attributes[-1]): sum(one.counts)
        for one in house.store.snapshot()
        if one.metric in {catalog.ATTEMPT_DURATION, catalog.COHORT_ATTEMPT}
    }
    assert counts == {
        (metric, epoch): number
        for metric in (catalog.ATTEMPT_DURATION, catalog.COHORT_ATTEMPT)
        for epoch, number in (("3", 2), ("4", 4))
    }


async def test_nothing_is_kept_of_a_lane_that_is_gone() -> None:
    other = replace(lane(test=5_000), segment="eu")
    house = House(lane(test=5_000), other)
    for _ in range(10):
        await house.predict(segment="eu")
        await house.predict()

    def segments(metric: catalog.Metric) -> set[str]:
        at = metric.attributes.index("segment")
        return {one.attributes[at] for one in house.store.snapshot() if one.metric is metric}

    counted = (catalog.ROUTE_COUNT, catalog.ATTEMPT_DURATION)
    assert [segments(metric) for metric in counted] == [{"", "eu"}] * 2
    house.proxy.use(Table(2, {("churn", ""): lane(test=5_000)}))
    assert [segments(metric) for metric in counted] == [{""}] * 2
    # One of the same name that comes later counts from nothing.
    house.proxy.use(Table(3, {("churn", ""): lane(test=5_000), ("churn", "eu"): other}))
    await house.predict(segment="eu")
    found = [one for one in house.store.snapshot() if one.metric is catalog.ROUTE_COUNT and one.attributes[1] == "eu"]
    assert [one.counts for one in found] == [(1,)]
