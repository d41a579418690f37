"""What a client of the checker says of answers that it must not get."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.checker.caller import Caller
from tests.checker.journal import Told
from tests.checker.replicas import Replicas


async def willing(*_: Any, **__: Any) -> resources_pb2.Model:
    """What a Registry answers that does whatever it is asked."""
    return resources_pb2.Model(event_sequence=2)


@pytest.mark.parametrize("etag", ["e1", "never"])
@pytest.mark.parametrize("kind", ["PauseRollout", "UpdateModel"])
async def test_nothing_rests_on_what_never_was(kind: str, etag: str) -> None:
    replicas = SimpleNamespace(stubs=[SimpleNamespace(PauseRollout=willing, UpdateModel=willing)])
    caller = Caller(0, cast("Replicas", replicas), 0)
    request = {
        "PauseRollout": service_pb2.PauseRolloutRequest(etag=etag),
        "UpdateModel": service_pb2.UpdateModelRequest(model=resources_pb2.Model(etag=etag)),
    }[kind]
    assert await caller.operate(kind, "m", "op-0-1", request) is Told.OK
    (entry,) = caller.journal
    if etag == "never":
        assert caller.found == [f"{kind} of m (op-0-1) was carried out, with an etag that nothing ever had"]
        assert entry.times == 0
    else:
        assert (caller.found, entry.times) == ([], 1)
