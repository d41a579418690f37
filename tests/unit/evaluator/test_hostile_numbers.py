"""What one process writes in place of numbers ends no look at the others."""

from collections.abc import Sequence

import pytest

from evaluator.monitor.watch import after
from evaluator.ports import ProcessView
from evaluator.terms import Terms
from evaluator.verdict.decision import Action
from evaluator.window.arms import parse_slice
from evaluator.window.counts import Counts
from evaluator.window.readings import Reading
from evaluator.window.splits import split_of
from evaluator.window.windows import take
from services.common.telemetry import catalog
from tests.fakes.metrics import CLASSES, Instance
from tests.unit.evaluator.monitored import Lane
from tests.unit.evaluator.world import Counters, world

NO_NUMBERS = ["", "-1", "²", "٣", "1e5", "9" * 30, "9" * 400, "9" * 5_000]


@pytest.mark.parametrize("written", NO_NUMBERS)
def test_no_epoch_and_no_slice_is_written_so(written: str) -> None:
    assert parse_slice(f"2.{written}") is None
    assert parse_slice(f"{written}.5") is None
    assert split_of([("slice", f"2.{written}")]) is None
    assert split_of([("epoch", written)]) is None


def test_epochs_and_slices_are_plain_digits() -> None:
    assert parse_slice("2.13") == (2, 13)
    assert split_of([("slice", "2.13")]) == (2, 13)
    assert split_of([("epoch", "7")]) == (7,)


class Hostile(Instance):
    """A process none of whose numbers is one, and that counts on."""

    def read(self, now: float, terms: Terms) -> Reading:
        for written in NO_NUMBERS:
            for version, traffic in (("v2", "live"), ("v1", "control"), ("v1", "live")):
                at = ("digits", version, traffic)
                for number in (f"1.{written}", f"{written}.2"):
                    self.store.spread(catalog.PREDICTION_COUNT, CLASSES, *at, "", number).add([5, 7])
                self.store.histogram(catalog.INFERENCE_DURATION, *at, written, "fp32").record(9.0)
                self.store.histogram(catalog.ATTEMPT_DURATION, *at, "", "INTERNAL", written).record(9.0)
        return super().read(now, terms)


async def test_a_rollout_is_judged_beside_a_process_that_writes_no_numbers() -> None:
    class AndOne(Counters):
        async def read(self, processes: Sequence[ProcessView], terms: Terms, timeout: float) -> Sequence[Reading]:
            found = await super().read(processes, terms, timeout)
            return [*found, hostile.read(self.fleet.now, terms)]

    hostile, made = Hostile("worker-2", worker=True), world()
    made.source = AndOne(made.source.fleet)
    await made.looks(made.evaluator(), 40)
    assert [one.action for one in made.ledger.acted] == [Action.PROMOTE]


async def test_a_lane_is_watched_beside_a_process_that_writes_no_numbers() -> None:
    lane = Lane()
    hostile = Hostile("worker-2", worker=True)
    cursor: Counts = ()
    watch = lane.watch
    for look in range(3):
        lane.fleet.run(30.0)
        readings = [one.read(lane.fleet.now, lane.terms) for one in (*lane.fleet.instances, hostile)]
        taken = take(cursor, readings, first=not look)
        watch, cursor = after(watch, taken.window, lane.fleet.epoch, lane.fleet.slice_seconds), taken.cursor
    assert sorted(watch.past.batches) == [1, 2, 4]
    assert {key[0] for key in watch.ledger.slices} == {lane.fleet.epoch}
