"""Mirrored requests: after the answer, bounded, and at no cost to callers."""

import asyncio
import threading
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from crossfade.predict.v1 import predict_pb2
from router import proxy, shadow
from router.call import Call, Reply
from router.split import ArmName
from router.table import Lane, Target
from services.common.clock import SystemClock
from services.common.telemetry import catalog
from services.common.telemetry.catalog import Metric
from tests.fakes.transport import Behavior, Sent, fail, hang
from tests.support.wait import until
from tests.unit.router.house import CONTROL, TEST, House, lane


def shadowed(control: int = 10_000) -> Lane:
    return replace(lane(control=control), shadow=Target("v2", "shadow", (TEST,)))


def scores(*values: float, prediction_id: str = "") -> Behavior:
    async def behave(_: Sent) -> Reply:
        response = predict_pb2.PredictResponse(raw_output_contents=[np.array([values], "<f4").tobytes()])
        if prediction_id:
            response.parameters["crossfade_prediction_id"].string_param = prediction_id
        response.outputs.add(name="y", datatype="FP32", shape=[1, len(values)])
        return Reply("OK", response.SerializeToString(), begun=True)

    return behave


def counted(house: House, metric: Metric) -> dict[tuple[str, ...], int]:
    found: Counter[tuple[str, ...]] = Counter()
    for snapshot in house.store.snapshot():
        if snapshot.metric is metric:
            found[snapshot.attributes[4:]] += sum(snapshot.counts)
    return dict(found)


async def test_the_test_version_gets_a_copy_and_the_caller_stables_answer() -> None:
    house = House(shadowed())
    house.transport.behaviors = {CONTROL: scores(0.9, 0.1), TEST: scores(0.2, 0.8)}
    answer = await house.predict()
    assert (answer.version, answer.traffic) == ("v1", "control")
    assert [sent.address for sent in house.transport.sent] == [CONTROL], "the copy leaves after the answer"
    await until(lambda: bool(counted(house, catalog.SHADOW_PAIR_COUNT)))
    assert counted(house, catalog.SHADOW_PAIR_COUNT) == {("keep", "churn"): 1}
    assert [sent.metadata["x-crossfade-traffic"] for sent in house.transport.sent] == ["control", "shadow"]
    assert house.attempts() == {("v1", "control", "ok"): 1, ("v2", "shadow", "ok"): 1}
    await house.proxy.close()


async def test_the_prediction_ids_of_both_answers_are_noted_where_both_have_one() -> None:
    house = House(shadowed())
    house.transport.behaviors = {CONTROL: scores(0.9, 0.1, prediction_id="ours"), TEST: scores(0.2, 0.8)}
    await house.predict()
    await until(lambda: sum(counted(house, catalog.SHADOW_PAIR_COUNT).values()) == 1)
    house.transport.behaviors[TEST] = scores(0.2, 0.8, prediction_id="theirs")
    await house.predict()
    await until(lambda: sum(counted(house, catalog.SHADOW_PAIR_COUNT).values()) == 2)
    assert house.noted == [("ours", "theirs")]
    await house.proxy.close()


async def test_only_controls_share_is_mirrored() -> None:
    house = House(shadowed(2_000))
    for _ in range(1_000):
        await house.predict()
        await until(lambda: house.proxy._shadow.in_flight == 0)
    counts = house.attempts()
    assert counts["v2", "shadow", "ok"] == counts["v1", "control", "ok"]
    # Binomial(1,000, 0.2) has a standard deviation of 13: five of them.
    assert abs(counts["v2", "shadow", "ok"] - 200) < 65
    await house.proxy.close()


async def test_without_a_control_process_stable_answers_and_the_copy_goes_all_the_same() -> None:
    one = shadowed()
    house = House(replace(one, arms={ArmName.STABLE: one.arms[ArmName.STABLE]}))
    assert (await house.predict()).traffic == "live"
    await until(lambda: ("v2", "shadow", "ok") in house.attempts())
    await house.proxy.close()


@pytest.mark.parametrize("code", ["INTERNAL", "UNAVAILABLE", "RESOURCE_EXHAUSTED"])
async def test_a_failing_copy_reaches_nobody_and_is_charged_to_its_version(code: str) -> None:
    house = House(shadowed())
    house.transport.behaviors = {TEST: fail(code)}
    answers = [await house.predict() for _ in range(5)]
    assert all(answer.reply.ok for answer in answers)
    await until(lambda: house.attempts().get(("v2", "shadow", code)) == 5)
    await until(lambda: not house.proxy._shadow.in_flight)
    assert counted(house, catalog.SHADOW_PAIR_COUNT) == counted(house, catalog.SHADOW_DROPPED_COUNT) == {}
    await house.proxy.close()


@pytest.mark.parametrize(("control", "charged"), [("OK", 1), ("INTERNAL", 0)])
async def test_a_copy_called_wrong_is_charged_if_control_has_answered(control: str, charged: int) -> None:
    house = House(shadowed())
    house.transport.behaviors = {TEST: fail("INVALID_ARGUMENT")}
    if control != "OK":
        house.transport.behaviors[CONTROL] = fail(control)
    await house.predict()
    await until(lambda: len(house.transport.sent) == 2 and not house.proxy._shadow.in_flight)
    assert house.attempts().get(("v2", "shadow", "INPUT_REFUSED"), 0) == charged
    await house.proxy.close()


async def test_what_is_pinned_and_what_is_the_callers_fault_is_not_mirrored() -> None:
    house = House(shadowed())
    await house.predict(pin="v2")
    house.transport.behaviors = {CONTROL: fail("INVALID_ARGUMENT")}
    await house.predict()
    await asyncio.sleep(0)
    assert "shadow" not in {sent.metadata["x-crossfade-traffic"] for sent in house.transport.sent}
    await house.proxy.close()


@pytest.mark.parametrize("outcome", ["INTERNAL", "ok"])
async def test_what_stable_failed_at_is_mirrored_so_that_both_have_the_same_requests(outcome: str) -> None:
    house = House(shadowed())
    house.transport.behaviors[CONTROL] = fail("INTERNAL")
    if outcome != "ok":
        house.transport.behaviors[TEST] = fail(outcome)
    await house.predict()
    await until(lambda: house.attempts().get(("v2", "shadow", outcome)) == 1 and not house.proxy._shadow.in_flight)
    assert house.attempts()["v1", "control", "INTERNAL"] == 1
    # There is no pair, and none was lost.
    assert counted(house, catalog.SHADOW_PAIR_COUNT) == counted(house, catalog.SHADOW_DROPPED_COUNT) == {}
    await house.proxy.close()


async def test_a_slow_version_holds_few_copies_and_no_caller() -> None:
    house = House(shadowed())
    house.transport.behaviors = {TEST: hang()}
    for _ in range(shadow.MOST_IN_FLIGHT + 20):
        assert (await house.predict(seconds=30.0)).reply.ok
    assert house.proxy._shadow.in_flight == shadow.MOST_IN_FLIGHT
    assert counted(house, catalog.SHADOW_DROPPED_COUNT) == {("busy",): 20}
    await house.proxy.close()
    assert house.proxy._shadow.in_flight == 0


async def test_few_pairs_wait_to_be_compared_and_those_beyond_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "MOST_COMPARED", 2)
    house = House(shadowed())
    house.transport.behaviors = {CONTROL: scores(0.9, 0.1), TEST: scores(0.2, 0.8)}
    free = threading.Event()
    house.proxy._shadow._pool.submit(free.wait)
    for _ in range(3):
        await house.predict()
    await until(lambda: counted(house, catalog.SHADOW_DROPPED_COUNT) == {("busy",): 1})
    free.set()
    await until(lambda: counted(house, catalog.SHADOW_PAIR_COUNT) == {("keep", "churn"): 2})
    # There is room again.
    for _ in range(3):
        await house.predict()
        await until(lambda: not house.proxy._shadow.in_flight)
    assert counted(house, catalog.SHADOW_PAIR_COUNT) == {("keep", "churn"): 5}
    # And no more than before.
    free.clear()
    house.proxy._shadow._pool.submit(free.wait)
    for _ in range(3):
        await house.predict()
    await until(lambda: counted(house, catalog.SHADOW_DROPPED_COUNT) == {("busy",): 2})
    free.set()
    await house.proxy.close()


async def test_copies_are_the_first_to_go_when_much_is_to_be_done() -> None:
    house = House(shadowed())
    house.proxy._calls = proxy.MOST_CALLS + 1
    assert (await house.predict()).reply.ok
    assert counted(house, catalog.SHADOW_DROPPED_COUNT) == {("busy",): 1}
    await house.proxy.close()


async def test_a_copy_has_as_much_time_as_its_caller_gave_from_when_it_leaves() -> None:
    house = House(shadowed())

    async def slow(sent: Sent) -> Reply:
        house.clock.advance(1.0)
        return Reply("OK", b"", begun=True)

    house.transport.behaviors = {CONTROL: slow}
    await house.predict(seconds=2.0)
    await until(lambda: len(house.transport.sent) == 2)
    assert 1.5 < house.transport.sent[-1].timeout <= 2.0
    await house.proxy.close()


async def test_large_requests_are_not_held() -> None:
    house = House(shadowed())

    async def large(_: Sent) -> Reply:
        return Reply("OK", b"x" * (shadow.MOST_BYTES + 1), begun=True)

    house.transport.behaviors = {CONTROL: large}
    await house.predict()
    assert counted(house, catalog.SHADOW_DROPPED_COUNT) == {("large",): 1}
    house.transport.behaviors.clear()
    call = Call(b"x" * (shadow.MOST_BYTES + 1), SystemClock().monotonic() + 5.0)
    await house.proxy.predict(call, house.proxy.route("churn", "", "", ""))
    assert counted(house, catalog.SHADOW_DROPPED_COUNT) == {("large",): 2}
    await house.proxy.close()


async def test_nobody_who_has_it_and_answers_without_numbers_are_said() -> None:
    away = House(replace(shadowed(), shadow=Target("v2", "shadow", ())))
    await away.predict()
    assert counted(away, catalog.SHADOW_DROPPED_COUNT) == {("no_worker",): 1}
    await away.proxy.close()
    texts = House(shadowed())
    await texts.predict()
    await until(lambda: counted(texts, catalog.SHADOW_DROPPED_COUNT) == {("incomparable",): 1})
    await texts.proxy.close()
