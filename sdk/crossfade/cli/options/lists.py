"""Which entries of a list are wanted, from the options of `versions`, `rollouts`, `events` and `history`."""

import datetime as dt
from collections.abc import Sequence

from crossfade.cli.errors import UsageError
from crossfade.cli.when import parse_when
from crossfade.registry.v1.resources_pb2 import RolloutState, VersionState
from crossfade.registry.v1.service_pb2 import ListEventsRequest, ListRolloutsRequest, ListVersionsRequest


def version_list(states: Sequence[str], segment: str | None) -> ListVersionsRequest:
    """Which versions.

    Raises:
        UsageError: a state is none.
    """
    wanted = [VersionState.Value(name) for name in _states(states, VersionState.keys(), "VERSION_STATE_")]
    return ListVersionsRequest(states=wanted, segment=segment)


def rollout_list(states: Sequence[str], version: str, segment: str | None) -> ListRolloutsRequest:
    """Which rollouts.

    Raises:
        UsageError: a state is none.
    """
    wanted = [RolloutState.Value(name) for name in _states(states, RolloutState.keys(), "ROLLOUT_STATE_")]
    return ListRolloutsRequest(states=wanted, version=version, segment=segment)


def event_list(
    types: Sequence[str], version: str, segment: str | None, since: str, until: str, now: dt.datetime
) -> ListEventsRequest:
    """Which events.

    Raises:
        UsageError: a time is none.
    """
    kinds = [kind.strip().upper().replace("-", "_").replace(" ", "_") for kind in types]
    request = ListEventsRequest(types=kinds, version=version, segment=segment)
    if since:
        request.start_time.FromDatetime(parse_when(since, "--since", now))
    if until:
        request.end_time.FromDatetime(parse_when(until, "--until", now))
    return request


def _states(given: Sequence[str], known: Sequence[str], prefix: str) -> list[str]:
    names = [prefix + name.upper().replace("-", "_") for name in given]
    for name, written in zip(names, given, strict=True):
        if name not in known[1:]:
            listed = ", ".join(one.removeprefix(prefix) for one in known[1:])
            raise UsageError(f"--state: {written!r} is no state; there are {listed}")
    return names
