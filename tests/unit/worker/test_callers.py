"""Who may choose a version at a Worker, and what becomes of such a call."""

import pytest

from crossfade import metadata as keys
from services.common.errors import PermissionDeniedError
from services.common.identity import Principal, Role, local_principal
from services.worker.front_end.callers import told

ROUTERS = ((keys.TRAFFIC, "control"), (keys.EPOCH, "7"), (keys.COHORT, "3"), (keys.CALLER, "eu"))
OTHERS = ((keys.SEGMENT, "eu"), ("traceparent", "00-1-2-01"), ("user-agent", "grpc"))
KEPT = {keys.SEGMENT: "eu", "traceparent": "00-1-2-01"}


def one(*roles: Role) -> Principal:
    return Principal("spiffe://crossfade/x/y", frozenset(roles))


def test_what_routers_say_is_believed_of_routers_alone() -> None:
    assert told((*ROUTERS, *OTHERS), "", one(Role.ROUTER)) == dict(ROUTERS) | KEPT
    assert told((*ROUTERS, *OTHERS), "", one(Role.CLIENT)) == KEPT
    assert told((), "", one(Role.CLIENT)) == {}


@pytest.mark.parametrize(("metadata", "version"), [((), "v2"), (((keys.VERSION, "v2"),), ""), (ROUTERS, "@test")])
def test_a_direct_call_that_names_a_version_takes_the_role_tester_and_is_pinned(
    metadata: tuple[tuple[str, str], ...], version: str
) -> None:
    with pytest.raises(PermissionDeniedError, match="tester") as caught:
        told(metadata, version, one(Role.CLIENT))
    assert caught.value.reason == "ROLE_MISSING"
    for tester in (one(Role.TESTER), one(Role.CLIENT, Role.TESTER)):
        assert told(metadata, version, tester)[keys.TRAFFIC] == "pinned"


def test_of_a_call_that_a_router_forwards_the_router_has_asked() -> None:
    # Its body still names the version that it was pinned to.
    pinned = ((keys.TRAFFIC, "pinned"), (keys.EPOCH, "7"))
    assert told(pinned, "v2", one(Role.ROUTER)) == dict(pinned)
    with pytest.raises(PermissionDeniedError):
        told((), "v2", one(Role.ROUTER))


def test_in_a_local_trial_everybody_has_every_role() -> None:
    assert told((), "v2", local_principal("ana")) == {keys.TRAFFIC: "pinned"}
    assert told(ROUTERS, "v2", local_principal("ana"))[keys.TRAFFIC] == "control"
