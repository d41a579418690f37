"""Who is asked, who is asked next, and what is charged to whom."""

import asyncio
import random
import re
import time
from collections import Counter
from dataclasses import replace

import pytest

from router.call import Answer, Call, Reply
from router.meters import Meters
from router.proxy import Proxy
from router.split import ArmName, Split, bucket_of
from router.table import Lane, Table, Target
from services.common.clock import SystemClock
from services.common.errors import DeadlineExceededError, FailedPreconditionError, NotFoundError, UnavailableError
from services.common.telemetry import catalog
from services.common.telemetry.store import MetricStore
from tests.fakes.transport import Behavior, FakeParts, FakeTransport, Sent, fail, hang
from tests.support.wait import until

STABLE, TEST, CONTROL = "stable:1", "test:1", "control:1"


def lane(*, test: int = 0, control: int = 0, sticky: bool = False, epoch: int = 3) -> Lane:
    arms = {ArmName.STABLE: Target("v1", "live", (STABLE,))}
    if test:
        arms[ArmName.TEST] = Target("v2", "live", (TEST,))
    if control:
        arms[ArmName.CONTROL] = Target("v1", "control", (CONTROL,))
    return Lane(
        model="churn",
        segment="",
        epoch=epoch,
        sticky=sticky,
        split=Split(0, test, control),
        arms=arms,
        pins={"v1": (STABLE,), "v2": (TEST,), "v0": ()},
        names={"@stable": "v1", "@test": "v2", "@previous": "v0"},
        classes={"v1": ("keep", "churn"), "v2": ("keep", "churn"), "v0": ("keep", "churn")},
    )


class House:
    """A proxy on a fake transport, with real clock and meters."""

    def __init__(self, *lanes: Lane, seed: int = 7) -> None:
        self.transport = FakeTransport()
        self.store = MetricStore()
        self.noted: list[tuple[str, str]] = []
        self.proxy = Proxy(
            self.transport,
            Meters(self.store),
            SystemClock(),
            random.Random(seed).random,
            lambda stable, test: self.noted.append((stable, test)),
        )
        self.proxy.use(Table(1, {(one.model, one.segment): one for one in lanes}))

    async def predict(self, *, seconds: float = 5.0, key: str = "", pin: str = "", segment: str = "") -> Answer:
        route = self.proxy.route("churn", segment, key, pin)
        call = Call(b"body", SystemClock().monotonic() + seconds, cohort=route.cohort, caller=route.caller)
        return await self.proxy.predict(call, route)

    def attempts(self) -> dict[tuple[str, str, str], int]:
        """Charged attempts by (version, traffic, outcome)."""
        found: Counter[tuple[str, str, str]] = Counter()
        for snapshot in self.store.snapshot():
            if snapshot.metric is catalog.ATTEMPT_DURATION:
                _, version, traffic, _, outcome, _ = snapshot.attributes
                found[version, traffic, outcome] += sum(snapshot.counts)
        return dict(found)


async def test_requests_are_split_by_share() -> None:
    house = House(lane(test=1_000, control=1_000))
    for _ in range(4_000):
        await house.predict()
    counts = house.attempts()
    # Binomial(4,000, 0.1) has a standard deviation of 19: five of them.
    assert abs(counts["v2", "live", "ok"] - 400) < 95
    assert abs(counts["v1", "control", "ok"] - 400) < 95
    assert sum(counts.values()) == 4_000


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


async def test_a_key_stays_with_its_arm_under_key_assignment() -> None:
    house = House(lane(test=5_000, sticky=True))
    versions = {(await house.predict(key="user-1")).version for _ in range(50)}
    assert len(versions) == 1


def cohorts(house: House) -> dict[tuple[str, str, str], dict[int, int]]:
    """Attempts by (version, traffic, outcome) and cohort."""
    return {
        (one.attributes[1], one.attributes[2], one.attributes[4]): {
            cohort: count for cohort, count in enumerate(one.counts) if count
        }
        for one in house.store.snapshot()
        if one.metric is catalog.COHORT_ATTEMPT
    }


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


async def test_requests_without_a_key_are_spread_under_key_assignment_too() -> None:
    house = House(lane(test=5_000, sticky=True))
    versions = {(await house.predict()).version for _ in range(50)}
    assert versions == {"v1", "v2"}


async def test_the_share_of_a_version_that_nobody_serves_is_stables() -> None:
    one = lane(test=10_000)
    house = House(replace(one, arms={**one.arms, ArmName.TEST: Target("v2", "live", ())}))
    answer = await house.predict()
    assert (answer.version, answer.traffic) == ("v1", "live")


async def test_a_key_is_ignored_under_request_assignment() -> None:
    house = House(lane(test=5_000))
    versions = {(await house.predict(key="user-1")).version for _ in range(50)}
    assert versions == {"v1", "v2"}


@pytest.mark.parametrize(("pin", "version"), [("v2", "v2"), ("@stable", "v1"), ("@test", "v2"), ("v1", "v1")])
async def test_pins(pin: str, version: str) -> None:
    house = House(lane())
    answer = await house.predict(pin=pin)
    assert (answer.version, answer.traffic) == (version, "pinned")


@pytest.mark.parametrize(
    ("pin", "segment", "then"),
    [
        ("@previous", "", ". One that is published is held after `crossfade try churn v0`"),
        ("a b", "", ""),
        ("v9", "", ". One that is published is held after `crossfade try churn v9`"),
        ("v9", "eu", ". One that is published is held after `crossfade try churn v9 --segment eu`"),
    ],
)
async def test_a_pin_to_what_no_worker_holds_says_what_can_be_reached_and_what_loads_it(
    pin: str, segment: str, then: str
) -> None:
    of_segment = replace(lane(), segment=segment)
    with pytest.raises(NotFoundError, match=rf"now: v1, v2{re.escape(then)}$") as caught:
        await House(of_segment).predict(pin=pin, segment=segment)
    assert caught.value.reason == "VERSION_NOT_LOADED"
    with pytest.raises(NotFoundError, match=rf"now: none{re.escape(then)}$"):
        await House(replace(of_segment, pins={})).predict(pin=pin, segment=segment)


async def test_calls_before_the_first_table_wait_a_moment_for_it() -> None:
    early = Proxy(FakeTransport(), Meters(MetricStore()), SystemClock(), random.Random(7).random, lambda *_: None)
    with pytest.raises(UnavailableError) as caught:
        early.route("churn", "", "", "")
    assert caught.value.reason == "ROUTES_UNKNOWN"
    waiting = asyncio.create_task(early.first_table())
    await asyncio.sleep(0)
    assert not waiting.done()
    early.use(Table(0))
    await asyncio.wait_for(waiting, 0.5)
    with pytest.raises(NotFoundError):
        early.route("churn", "", "", "")


async def test_unknown_model() -> None:
    with pytest.raises(NotFoundError) as caught:
        House(lane()).proxy.route("chrun", "", "", "")
    assert caught.value.reason == "MODEL_NOT_FOUND"


async def test_a_lane_without_a_stable_version() -> None:
    empty = Lane("churn", "", 0, False, Split(0, 0, 0), {}, {}, {}, {})
    for one, segment in ((empty, ""), (replace(empty, segment="eu"), "eu")):
        with pytest.raises(FailedPreconditionError) as caught:
            await House(one).predict(segment=segment)
        assert caught.value.reason == "NO_STABLE_VERSION"


async def test_nothing_serves_the_stable_version() -> None:
    bare = Lane("churn", "", 0, False, Split(0, 0, 0), {ArmName.STABLE: Target("v1", "live", ())}, {}, {}, {})
    with pytest.raises(UnavailableError) as caught:
        await House(bare).predict()
    assert caught.value.reason == "NOT_SERVING"


async def test_a_deadline_that_was_over_on_arrival() -> None:
    house = House(lane())
    with pytest.raises(DeadlineExceededError):
        await house.predict(seconds=0.0)
    assert house.transport.sent == []


async def test_a_failing_test_version_is_charged_and_the_caller_gets_stables_answer() -> None:
    house = House(lane(test=10_000))
    house.transport.behaviors[TEST] = fail("INTERNAL")
    answer = await house.predict()
    assert answer.reply.ok
    assert (answer.version, answer.traffic) == ("v1", "failover")
    assert house.attempts() == {("v2", "live", "INTERNAL"): 1, ("v1", "failover", "ok"): 1}


async def test_a_test_process_that_never_began_is_charged_to_nobody() -> None:
    house = House(lane(test=10_000))
    house.transport.behaviors[TEST] = fail("UNAVAILABLE", begun=False)
    answer = await house.predict()
    assert answer.reply.ok
    assert house.attempts() == {("v1", "failover", "ok"): 1}


async def test_a_version_that_is_not_live_any_more_is_charged_to_nobody() -> None:
    house = House(lane(test=10_000))
    house.transport.behaviors[TEST] = fail("FAILED_PRECONDITION", begun=False)
    assert (await house.predict()).version == "v1"
    assert house.attempts() == {("v1", "failover", "ok"): 1}


async def test_a_stable_version_that_has_failed_is_left_as_soon_as_the_routes_say_so() -> None:
    house = House(lane())
    house.transport.behaviors[STABLE] = fail("FAILED_PRECONDITION", begun=False)
    call = asyncio.create_task(house.predict())
    await until(lambda: len(house.transport.sent) == 1)
    other = lane(epoch=9)
    house.proxy.use(Table(2, {("other", ""): replace(other, model="other"), ("churn", ""): lane()}))
    undone = replace(lane(epoch=4), arms={ArmName.STABLE: Target("v0", "live", ("previous:1",))})
    house.proxy.use(Table(3, {("churn", ""): undone}))
    answer = await call
    assert (answer.reply.ok, answer.version, answer.traffic) == (True, "v0", "failover")


async def test_a_stable_version_that_has_failed_is_said_to_have_when_no_routes_come() -> None:
    house = House(lane())
    house.transport.behaviors[STABLE] = fail("FAILED_PRECONDITION", begun=False)
    answer = await house.predict(seconds=0.1)
    assert answer.reply.code == "FAILED_PRECONDITION"
    # Nor are they waited for for long, or when the model is gone from them.
    house.proxy.use(Table(2, {("churn", ""): lane(epoch=4)}))
    call = asyncio.create_task(house.predict(seconds=30.0))
    await until(lambda: len(house.transport.sent) == 2)
    house.proxy.use(Table(3, {("churn", ""): replace(lane(epoch=5), arms={})}))
    await asyncio.sleep(0.01)
    house.proxy.use(Table(4, {}))
    assert (await asyncio.wait_for(call, 3.0)).reply.code == "FAILED_PRECONDITION"


async def test_what_a_version_fails_at_with_the_words_of_one_that_is_not_live_is_no_refusal() -> None:
    house = House(lane())
    house.transport.behaviors[STABLE] = fail("FAILED_PRECONDITION")
    answer = await asyncio.wait_for(house.predict(seconds=30.0), 0.5)
    assert (answer.reply.code, answer.traffic) == ("FAILED_PRECONDITION", "live")
    assert house.attempts() == {("v1", "live", "FAILED_PRECONDITION"): 1}


async def test_a_full_queue_is_charged() -> None:
    house = House(lane(test=10_000))
    house.transport.behaviors[TEST] = fail("RESOURCE_EXHAUSTED", begun=False)
    assert (await house.predict()).version == "v1"
    assert house.attempts()["v2", "live", "RESOURCE_EXHAUSTED"] == 1


@pytest.mark.parametrize("test", [0, 10_000])
async def test_bad_input_goes_back_to_its_sender_and_is_charged_to_nobody(test: int) -> None:
    house = House(lane(test=test))
    house.transport.behaviors.update({TEST: fail("INVALID_ARGUMENT"), STABLE: fail("INVALID_ARGUMENT")})
    answer = await house.predict()
    assert answer.reply.code == "INVALID_ARGUMENT"
    # Of the test version's share stable is asked too, once.
    assert [sent.address for sent in house.transport.sent] == ([TEST, STABLE] if test else [STABLE])
    assert house.attempts() == {}


async def test_what_stable_has_no_say_in_is_the_senders_mistake() -> None:
    house = House(replace(lane(test=10_000), arms={ArmName.TEST: Target("v2", "live", (TEST,))}))
    house.transport.behaviors[TEST] = fail("INVALID_ARGUMENT")
    assert (await house.predict()).reply.code == "INVALID_ARGUMENT"
    one = lane(test=10_000)
    bare = House(replace(one, arms={**one.arms, ArmName.STABLE: Target("v1", "live", ())}))
    bare.transport.behaviors[TEST] = fail("INVALID_ARGUMENT")
    assert (await bare.predict()).reply.code == "INVALID_ARGUMENT"
    assert house.attempts() == bare.attempts() == {}


async def test_a_request_that_only_the_test_version_calls_wrong_is_answered_by_stable_and_charged() -> None:
    house = House(lane(test=10_000))
    house.transport.behaviors[TEST] = fail("INVALID_ARGUMENT")
    answer = await house.predict()
    assert (answer.reply.ok, answer.version, answer.traffic) == (True, "v1", "failover")
    assert house.attempts() == {("v2", "live", "INPUT_REFUSED"): 1, ("v1", "failover", "ok"): 1}
    for _ in range(100):
        assert (await house.predict()).version == "v1"
    # The breaker spares callers the detour.
    assert house.attempts()["v2", "live", "INPUT_REFUSED"] == 15


async def test_a_refusal_that_comes_late_is_charged_as_well() -> None:
    house = House(lane(test=10_000))

    async def slow(_: Sent) -> Reply:
        await asyncio.sleep(0.15)
        return Reply("INVALID_ARGUMENT", begun=True)

    house.transport.behaviors[TEST] = slow
    assert (await house.predict(seconds=0.2)).version == "v1"
    await until(lambda: house.attempts().get(("v2", "live", "INPUT_REFUSED")) == 1)


async def test_a_slow_test_version_costs_the_caller_half_of_its_time_and_its_timeout_is_recorded() -> None:
    house = House(lane(test=10_000))
    house.transport.behaviors[TEST] = hang()
    started = SystemClock().monotonic()
    answer = await house.predict(seconds=0.4)
    assert answer.version == "v1"
    assert SystemClock().monotonic() - started < 0.35
    await until(lambda: ("v2", "live", "DEADLINE_EXCEEDED") in house.attempts())
    assert house.attempts()["v1", "failover", "ok"] == 1


async def test_a_stable_version_that_fails_is_not_asked_twice() -> None:
    house = House(lane())
    house.transport.behaviors[STABLE] = fail("INTERNAL")
    answer = await house.predict()
    assert answer.reply.code == "INTERNAL"
    assert len(house.transport.sent) == 1


async def test_a_stable_process_that_is_gone_is_waited_for() -> None:
    house = House(lane())

    async def come_back(sent: Sent) -> Reply:
        return Reply("OK", b"again", begun=True) if sent.wait else Reply("UNAVAILABLE")

    house.transport.behaviors[STABLE] = come_back
    assert (await house.predict()).reply.ok
    assert [sent.wait for sent in house.transport.sent] == [False, True]
    # However many wait: what never began multiplies no overload.
    for _ in range(20):
        assert (await house.predict()).reply.ok


async def test_the_last_process_of_a_stable_version_refuses_while_it_ends_and_is_waited_for_all_the_same() -> None:
    house = House(lane())

    async def end(sent: Sent) -> Reply:
        ended = len(house.transport.sent) > 4
        return Reply("OK", b"again", begun=True) if ended else Reply("UNAVAILABLE", details=b"DRAINING")

    house.transport.behaviors[STABLE] = end
    assert (await house.predict()).reply.body == b"again"
    assert house.attempts() == {("v1", "live", "ok"): 1}


async def test_a_call_that_a_process_refused_as_it_ended_goes_on_to_one_that_newer_routes_name() -> None:
    house = House(lane())
    house.transport.behaviors[STABLE] = fail("UNAVAILABLE", begun=False)
    call = asyncio.create_task(house.predict())
    await until(lambda: len(house.transport.sent) == 2)
    moved = replace(many(("other:1",)), pins={"v1": ("other:1",)})
    house.proxy.use(Table(2, {("churn", ""): moved}))
    assert (await call).reply.body == b"other:1"


async def test_a_process_that_only_refuses_is_asked_until_the_callers_time_is_over() -> None:
    house = House(lane())
    house.transport.behaviors[STABLE] = fail("UNAVAILABLE", begun=False)
    started = SystemClock().monotonic()
    answer = await house.predict(seconds=0.4)
    assert answer.reply.code == "UNAVAILABLE"
    assert SystemClock().monotonic() - started < 0.6
    assert len(house.transport.sent) <= 7


async def test_all_that_a_dying_process_worked_on_is_asked_once_more() -> None:
    house = House(lane())

    async def die(sent: Sent) -> Reply:
        return (
            Reply("OK", b"again", begun=True)
            if sent.wait
            else Reply("UNAVAILABLE", message="Socket closed", begun=True)
        )

    house.transport.behaviors[STABLE] = die
    answers = await asyncio.gather(*(house.predict() for _ in range(100)))
    assert all(answer.reply.ok for answer in answers)


async def test_a_call_of_a_dying_process_goes_to_another_one_where_there_is_one() -> None:
    house = House(many((STABLE, "other:1")))
    house.transport.behaviors[STABLE] = fail("UNAVAILABLE")
    assert (await house.predict()).reply.body == b"other:1"
    assert [sent.address for sent in house.transport.sent] == [STABLE, "other:1"]


async def test_a_worker_that_says_itself_that_it_cannot_is_asked_again_within_the_budget() -> None:
    house = House(lane())

    async def refuse(sent: Sent) -> Reply:
        return Reply("UNAVAILABLE", message="not now", details=b"a status", begun=True)

    house.transport.behaviors[STABLE] = refuse
    for _ in range(100):
        await house.predict()
    # Ten that were saved up, and a tenth of the calls since.
    assert 118 <= len(house.transport.sent) <= 120


async def test_controls_requests_go_to_stables_process_when_its_own_is_gone() -> None:
    house = House(lane(test=1, control=9_999))
    house.transport.behaviors[CONTROL] = fail("UNAVAILABLE", begun=False)
    answer = await house.predict()
    assert answer.reply.ok
    assert {sent.address for sent in house.transport.sent} == {CONTROL, STABLE}


async def test_a_test_version_that_always_fails_is_cut_to_a_probe() -> None:
    house = House(lane(test=10_000))
    house.transport.behaviors[TEST] = fail("INTERNAL")
    for _ in range(500):
        assert (await house.predict()).reply.ok
    attempts = house.attempts()
    assert attempts["v2", "live", "INTERNAL"] == 15
    assert 0 < attempts["v2", "reduced", "INTERNAL"] < 20


@pytest.mark.parametrize("late", [False, True])
async def test_requests_at_which_stables_program_fails_alike_do_not_cut_the_test_version_off(late: bool) -> None:
    house = House(lane(test=10_000))
    behavior, asked = fail("INTERNAL", reason="OUTPUT_NOT_FINITE"), asyncio.Event()

    async def dawdle(sent: Sent) -> Reply:
        await asked.wait()
        return await behavior(sent)

    async def stable(sent: Sent) -> Reply:
        asked.set()
        return await behavior(sent)

    house.transport.behaviors.update({TEST: dawdle if late else behavior, STABLE: stable})
    answers = await asyncio.gather(*(house.predict(seconds=1.0) for _ in range(20)))
    assert {(answer.reply.code, answer.version) for answer in answers} == {("INTERNAL", "v1")}
    assert (await house.predict()).version == "v1"
    # They are counted all the same, as stable's own are: left out of one arm alone, they would hide what fails besides.
    assert house.attempts() == {("v2", "live", "INTERNAL"): 21, ("v1", "failover", "INTERNAL"): 21}


@pytest.mark.parametrize(
    "stable",
    [None, fail("INTERNAL", reason="MODEL_RAISED"), fail("INTERNAL"), fail("DEADLINE_EXCEEDED")],
)
async def test_a_program_that_fails_where_stable_does_not_fail_alike_is_cut_off(stable: Behavior | None) -> None:
    house = House(lane(test=10_000))
    house.transport.behaviors[TEST] = fail("INTERNAL", reason="OUTPUT_NOT_FINITE")
    if stable is not None:
        house.transport.behaviors[STABLE] = stable
    for _ in range(40):
        await house.predict()
    assert house.attempts()["v2", "live", "INTERNAL"] == 15


async def test_neither_a_caller_who_leaves_nor_one_whose_request_stable_fails_at_hides_a_program_that_fails() -> None:
    house = House(lane(test=10_000))
    behavior = fail("INTERNAL", reason="OUTPUT_NOT_FINITE")
    for number in range(45):
        house.transport.behaviors.update({TEST: behavior, STABLE: hang()})
        if number % 3 == 0:
            house.transport.behaviors[STABLE] = behavior
            await house.predict()
            continue
        house.transport.sent.clear()
        call = asyncio.create_task(house.predict(seconds=30.0))
        await until(lambda: house.transport.sent and house.transport.sent[-1].address == STABLE)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    # Of each three, the first says nothing of the version: it is cut off with the 15th of the others.
    assert house.attempts()["v2", "live", "INTERNAL"] == 23


async def test_a_stream_that_breaks_at_a_later_step_is_the_versions() -> None:
    house = House(lane(test=10_000))
    for _ in range(20):
        house.transport.rests = {TEST: FakeParts(1, Reply("INTERNAL", begun=True, reason="OUTPUT_NOT_FINITE"))}
        route = house.proxy.route("churn", "", "", "")
        call = Call(b"body", SystemClock().monotonic() + 5.0, streamed=True)
        await house.proxy.stream(call, route, lambda _: asyncio.sleep(0))
    assert house.attempts()["v2", "live", "INTERNAL"] == 15


async def test_a_caller_who_leaves_charges_nobody_and_is_no_error() -> None:
    house = House(lane(test=10_000))
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, error: errors.append(error))
    house.transport.behaviors[TEST] = hang()
    call = asyncio.create_task(house.predict(seconds=30.0))
    await until(lambda: house.transport.sent)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: house.transport.cancelled == 1)
    await asyncio.sleep(0)
    assert not errors
    assert house.attempts() == {}


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


def many(addresses: tuple[str, ...], test: int = 0) -> Lane:
    """A lane whose stable version has several processes."""
    one = lane(test=test)
    return replace(one, arms={**one.arms, ArmName.STABLE: Target("v1", "live", addresses)})


async def test_dead_processes_are_passed_over_while_others_serve() -> None:
    house = House(many(("dead:1", "dead:2", STABLE)))
    house.transport.behaviors.update({name: fail("UNAVAILABLE", begun=False) for name in ("dead:1", "dead:2")})
    assert (await house.predict()).reply.ok
    assert [(sent.address, sent.wait) for sent in house.transport.sent] == [
        ("dead:1", False),
        ("dead:2", False),
        (STABLE, False),
    ]


async def test_what_stables_process_answers_for_control_is_judged_for_neither() -> None:
    house = House(lane(test=1, control=9_999))
    house.transport.behaviors[CONTROL] = fail("UNAVAILABLE", begun=False)
    await house.predict()
    assert house.attempts() == {("v1", "failover", "ok"): 1}


async def test_waiting_in_vain_for_a_process_is_charged_to_nobody() -> None:
    house = House(lane())
    calls = 0

    async def gone(sent: Sent) -> Reply:
        nonlocal calls
        calls += 1
        return Reply("DEADLINE_EXCEEDED") if sent.wait else Reply("UNAVAILABLE")

    house.transport.behaviors[STABLE] = gone
    assert (await house.predict()).reply.code == "DEADLINE_EXCEEDED"
    assert calls == 2
    assert house.attempts() == {}


@pytest.mark.parametrize("test", [0, 10_000])
async def test_a_deadline_that_cancels_the_handler_is_charged_in_both_arms_alike(test: int) -> None:
    house = House(lane(test=test))
    house.transport.behaviors.update({STABLE: hang(), TEST: hang()})
    call = asyncio.create_task(house.predict(seconds=0.1))
    await until(lambda: house.transport.sent)
    time.sleep(0.11)  # noqa: ASYNC251 - the loop is blocked beyond the caller's deadline
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    version = "v2" if test else "v1"
    await until(lambda: house.attempts().get((version, "live", "DEADLINE_EXCEEDED")) == 1)
    (late,) = [one for one in house.store.snapshot() if one.metric is catalog.ATTEMPT_DURATION]
    assert 0.05 < late.total < 5.0


async def test_a_deadline_that_cancels_a_call_which_waits_for_a_process_is_charged_to_nobody() -> None:
    house = House(lane())
    house.transport.behaviors[STABLE] = gone
    call = asyncio.create_task(house.predict(seconds=0.1))
    await until(lambda: house.transport.sent and house.transport.sent[-1].wait)
    time.sleep(0.11)  # noqa: ASYNC251 - the loop is blocked beyond the caller's deadline
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await until(lambda: house.transport.cancelled == 1)
    assert house.attempts() == {}


async def test_a_late_answer_of_the_test_version_is_better_than_none() -> None:
    house = House(lane(test=10_000))

    async def slow(sent: Sent) -> Reply:
        await asyncio.sleep(0.15)
        return Reply("OK", b"late", begun=True)

    house.transport.behaviors.update({TEST: slow, STABLE: fail("INTERNAL")})
    answer = await house.predict(seconds=0.2)
    assert (answer.version, answer.reply.body) == ("v2", b"late")


async def test_a_segments_lane_without_a_stable_version_leaves_its_requests_to_the_default_lane() -> None:
    empty = replace(lane(), segment="eu", arms={})
    house = House(lane(), empty)
    assert (await house.predict(segment="eu")).version == "v1"
    own = replace(lane(), segment="eu", arms={ArmName.STABLE: Target("v9", "live", ("own:1",))})
    assert (await House(lane(), own).predict(segment="eu")).version == "v9"


async def test_a_segments_lane_without_a_stable_version_answers_only_pins_of_versions_that_only_it_holds() -> None:
    empty = replace(lane(), segment="eu", arms={}, names={}, pins={"v7": ("seven:1",)})
    house = House(lane(), empty)
    for pin, version in (("@stable", "v1"), ("v2", "v2"), ("v7", "v7")):
        answer = await house.predict(segment="eu", pin=pin)
        assert (answer.version, answer.traffic) == (version, "pinned")
    with pytest.raises(NotFoundError, match="v1, v2"):
        await house.predict(segment="eu", pin="v9")


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


async def gone(sent: Sent) -> Reply:
    """A process that has gone for good: whoever waits for it waits in vain."""
    return await hang()(sent) if sent.wait else Reply("UNAVAILABLE")


def served_at(*addresses: str, test: int = 0) -> Lane:
    one = lane(test=test)
    arms = {**one.arms, ArmName.STABLE: Target("v1", "live", addresses)}
    return replace(one, arms=arms, pins={**one.pins, "v1": addresses})


@pytest.mark.parametrize("addresses", [("stable:2",), (STABLE, "stable:2")], ids=["instead", "besides"])
@pytest.mark.parametrize("pin", ["", "v1"])
async def test_a_call_that_waits_for_a_process_goes_to_one_that_newer_routes_name(
    addresses: tuple[str, ...], pin: str
) -> None:
    house = House(lane())
    house.transport.behaviors[STABLE] = gone
    call = asyncio.create_task(house.predict(pin=pin))
    await until(lambda: house.transport.sent and house.transport.sent[-1].wait)
    # News that say nothing of it change nothing.
    house.proxy.use(Table(2, {("churn", ""): lane(epoch=4)}))
    await asyncio.sleep(0)
    assert not call.done()
    house.proxy.use(Table(3, {("churn", ""): served_at(*addresses)}))
    answer = await asyncio.wait_for(call, 1.0)
    assert (answer.reply.body, answer.version, answer.traffic) == (b"stable:2", "v1", "pinned" if pin else "live")
    assert house.transport.cancelled == 1
    assert house.attempts() == {("v1", "pinned" if pin else "live", "ok"): 1}


async def test_what_a_process_has_lost_goes_to_one_that_newer_routes_name() -> None:
    house = House(lane())

    async def dies(sent: Sent) -> Reply:
        return await hang()(sent) if sent.wait else Reply("UNAVAILABLE", begun=True)

    house.transport.behaviors[STABLE] = dies
    call = asyncio.create_task(house.predict())
    await until(lambda: house.transport.sent and house.transport.sent[-1].wait)
    house.proxy.use(Table(2, {("churn", ""): served_at(STABLE, "stable:2")}))
    assert (await asyncio.wait_for(call, 1.0)).reply.body == b"stable:2"


async def test_a_process_that_comes_back_answers_although_newer_routes_name_another() -> None:
    house, back = House(lane()), asyncio.Event()

    async def returns(sent: Sent) -> Reply:
        if not sent.wait:
            return Reply("UNAVAILABLE")
        await back.wait()
        return Reply("OK", b"back", begun=True)

    house.transport.behaviors |= {STABLE: returns, "stable:2": gone}
    call = asyncio.create_task(house.predict())
    await until(lambda: house.transport.sent and house.transport.sent[-1].wait)
    house.proxy.use(Table(2, {("churn", ""): served_at(STABLE, "stable:2")}))
    await until(lambda: house.transport.sent[-1].address == "stable:2")
    back.set()
    assert (await asyncio.wait_for(call, 1.0)).reply.body == b"back"


async def test_a_caller_that_leaves_while_it_waits_leaves_no_attempt() -> None:
    house = House(lane())
    house.transport.behaviors |= {STABLE: gone, "stable:2": gone}
    call = asyncio.create_task(house.predict())
    await until(lambda: house.transport.sent and house.transport.sent[-1].wait)
    house.proxy.use(Table(2, {("churn", ""): served_at(STABLE, "stable:2")}))
    await until(lambda: house.transport.sent[-1].address == "stable:2")
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await until(lambda: house.transport.cancelled == 2)
