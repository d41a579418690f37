"""Good versions are promoted and bad ones rolled back, through every service and with nobody who decides."""

import asyncio
from collections import defaultdict

import numpy as np
import pytest

from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.e2e.conftest import AB_TEST, ENDED, PAIRED, PROMOTED, ROLLED_BACK, SHADOW, House, Load, rows


@pytest.mark.timeout(300)
async def test_a_good_version_is_promoted_and_a_bad_one_rolled_back(house: House) -> None:
    load = Load(house.client, rate=100)

    good = await house.publish("v2")
    rollout = await house.until_state(good.rollout.name, *ENDED, seconds=120)
    assert rollout.state == PROMOTED, rollout
    await house.until_serves("v2")
    model = await house.registry.GetModel(service_pb2.GetModelRequest(name="models/sign"))
    states = {one.version: one.state for one in model.lanes[0].versions}
    assert states == {"v1": resources_pb2.VERSION_STATE_DEPRECATED, "v2": resources_pb2.VERSION_STATE_STABLE}

    bad = await house.publish("v3")
    rollout = await house.until_state(bad.rollout.name, *ENDED, seconds=120)
    assert rollout.state == ROLLED_BACK, rollout
    assert rollout.outcome.gate == "errors"
    assert rollout.outcome.summary.gates
    calls = await load.stop()
    assert load.errors == []
    assert len(load.versions) == calls
    assert "v3" in load.versions

    events = await house.registry.ListEvents(service_pb2.ListEventsRequest(parent="models/sign"))
    by_type = {event.type: event for event in events.events}
    assert by_type["ROLLOUT_ROLLED_BACK"].actor
    again = await house.registry.ListAnalyses(service_pb2.ListAnalysesRequest(parent=bad.rollout.name))
    assert [one.sequence for one in again.analyses] == list(range(1, len(again.analyses) + 1))


@pytest.mark.timeout(300)
async def test_a_version_is_tried_in_shadow_before_any_caller_has_it(house: House) -> None:
    load = Load(house.client, rate=100)
    good = await house.publish("v2", policy=SHADOW)
    rollout = await house.until_state(good.rollout.name, *ENDED, seconds=120)
    assert rollout.state == PROMOTED, rollout
    looks = await house.registry.ListAnalyses(service_pb2.ListAnalysesRequest(parent=good.rollout.name))
    shadowed = [look.summary.shadow for look in looks.analyses if look.step == 0 and look.summary.shadow.rows]
    assert shadowed[-1].rows > 50
    assert shadowed[-1].different == 0
    await house.until_serves("v2")
    calls = len(load.versions)

    bad = await house.publish("v3", policy=SHADOW)
    rollout = await house.until_state(bad.rollout.name, *ENDED, seconds=120)
    assert rollout.state == ROLLED_BACK, rollout
    assert (rollout.outcome.gate, rollout.step) == ("errors", 0)
    await load.stop()
    assert load.errors == []
    assert len(load.versions) > calls
    assert "v3" not in load.versions


class Shoppers:
    """Users who come again and again, and report whether they bought; of those whom v2 advises more do.

    Args:
        house: where they shop.
        users: how many.
    """

    def __init__(self, house: House, users: int) -> None:
        self._house = house
        self._random = np.random.default_rng(1)
        self._inclined = self._random.beta(6, 14, users)
        self.versions: defaultdict[int, list[str]] = defaultdict(list)
        self._calls: set[asyncio.Task[None]] = set()
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            call = asyncio.create_task(self._visit(int(self._random.integers(len(self._inclined)))))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
            await asyncio.sleep(0.01)

    async def _visit(self, user: int) -> None:
        # In the order of their calls: of two at once the later one may be answered first.
        seen = self.versions[user]
        place = len(seen)
        seen.append("")
        answer = await self._house.client.predict("sign", rows(1, seed=user), key=f"user-{user}")
        seen[place] = answer.version
        bought = self._random.random() < self._inclined[user] + (0.4 if answer.version == "v2" else 0.0)
        await self._house.client.feedback(answer, [float(bought)])

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(*self._calls)


@pytest.mark.timeout(300)
async def test_an_ab_test_by_key_is_won_by_the_version_whose_users_buy_more(house: House) -> None:
    shoppers = Shoppers(house, 600)
    started = await house.publish("v2", policy=AB_TEST, ab_test=True)
    await house.until_state(started.rollout.name, resources_pb2.ROLLOUT_STATE_RUNNING, seconds=60)
    rollout = await house.until_state(started.rollout.name, *ENDED, seconds=120)
    await shoppers.stop()
    assert rollout.state == PROMOTED, rollout.outcome
    assert rollout.outcome.code == "SUPERIOR"
    assert "v2 is better than v1 in conversion" in rollout.outcome.reason
    # A user who has seen v2 goes back to v1 never, and while it is tried half of them never see it.
    for seen in shoppers.versions.values():
        assert seen == sorted(seen)


@pytest.mark.timeout(300)
async def test_labels_of_mirrored_requests_tell_a_worse_version_before_any_caller_has_it(house: House) -> None:
    async def call(number: int) -> str:
        row = rows(1, seed=number)
        answer = await house.client.predict("sign", row)
        await asyncio.sleep(0.5)  # Whoever labels is slower than a copy.
        await house.client.feedback(answer, ["yes" if row.sum() > 0 else "no"])
        return answer.version

    async def visit() -> None:
        number = 0
        while True:
            calls.append(asyncio.create_task(call(number)))
            number += 1
            await asyncio.sleep(0.01)

    calls: list[asyncio.Task[str]] = []
    visitors = asyncio.create_task(visit())
    bad = await house.publish("v4", policy=PAIRED)
    rollout = await house.until_state(bad.rollout.name, *ENDED, seconds=120)
    visitors.cancel()
    versions = await asyncio.gather(*calls)
    assert (rollout.state, rollout.outcome.gate) == (ROLLED_BACK, "paired_accuracy"), rollout.outcome
    assert set(versions) == {"v1"}
    assert rollout.outcome.summary.shadow.labelled > 10
