"""A ledger that was damaged is not shortened, and keeps no other from it."""

import asyncio
from typing import Any

from services.common.errors import FailedPreconditionError
from tests.fakes.clock import ManualClock
from tests.integration.registry.harness import Start
from tests.integration.registry.test_retention import DAY, describe

_PUT_IN = (
    "INSERT INTO events (model, sequence, segment, version, rollout, type, time, actor, reason, revision, outcome,"
    " hash, previous_hash) SELECT model, sequence + 1, segment, version, rollout, type, time, actor, reason, revision,"
    " outcome, hash, previous_hash FROM events WHERE model = 'a' AND sequence = 121"
)


async def test_an_event_that_was_put_in_holds_up_no_other_models_compaction(start: Start, shared_database: Any) -> None:
    clock = ManualClock()
    registry = await start(clock, event_days=30.0)
    for model in ("a", "b", "c"):
        await registry.create(model)
        await describe(registry, 120, model)
    clock.advance(40 * DAY)
    shared_database.execute(_PUT_IN.encode())
    forgotten = await asyncio.to_thread(registry.app.retention.forget, deadline=float("inf"))
    (failure,) = forgotten.failures
    assert isinstance(failure, FailedPreconditionError)
    assert failure.reason == "LEDGER_BROKEN"
    compacted = {model: (await registry.model(model)).compacted_sequence for model in ("a", "b", "c")}
    assert compacted == {"a": 0, "b": 121, "c": 121}
