"""What a list's request leaves out, from the wire; page tokens hold for one filter only, so each has one form."""

from collections.abc import Iterable

from crossfade.registry.v1 import resources_pb2, service_pb2
from registry.domain.ledger import check_type
from registry.domain.states import RolloutState, VersionState
from registry.filters import EventFilter, RolloutFilter, VersionFilter
from registry.servicer import validation
from registry.servicer.policy_validation import refuse


def versions(request: service_pb2.ListVersionsRequest) -> VersionFilter:
    """Which versions.

    Raises:
        InvalidArgumentError: FIELD_INVALID.
    """
    names = _names(resources_pb2.VersionState.items(), request.states, "VERSION_STATE_")
    return VersionFilter(_segment(request), tuple(VersionState(name) for name in names))


def rollouts(request: service_pb2.ListRolloutsRequest) -> RolloutFilter:
    """Which rollouts.

    Raises:
        InvalidArgumentError: FIELD_INVALID.
    """
    names = _names(resources_pb2.RolloutState.items(), request.states, "ROLLOUT_STATE_")
    return RolloutFilter(
        _segment(request),
        validation.identifier("version", request.version) if request.version else "",
        tuple(RolloutState(name) for name in names),
        request.live_only,
    )


def events(request: service_pb2.ListEventsRequest, rollout: int) -> EventFilter:
    """Which events, besides those of one rollout alone.

    Raises:
        InvalidArgumentError: FIELD_INVALID.
    """
    for index, kind in enumerate(request.types):
        try:
            check_type(kind)
        except ValueError as error:
            raise refuse(f"types[{index}]", str(error)) from error
    start = validation.time("start_time", request.start_time) if request.HasField("start_time") else None
    end = validation.time("end_time", request.end_time) if request.HasField("end_time") else None
    if start is not None and end is not None and end <= start:
        raise refuse("end_time", "is not after start_time")
    version = validation.identifier("version", request.version) if request.version else ""
    return EventFilter(rollout, _segment(request), version, tuple(sorted(set(request.types))), start, end)


def _segment(
    request: service_pb2.ListVersionsRequest | service_pb2.ListRolloutsRequest | service_pb2.ListEventsRequest,
) -> str | None:
    return validation.segment("segment", request.segment) if request.HasField("segment") else None


def _names(items: Iterable[tuple[str, int]], values: Iterable[int], prefix: str) -> list[str]:
    known = {number: name for name, number in items}
    names = [known.get(value, "").removeprefix(prefix) for value in values]
    for index, name in enumerate(names):
        if name in ("", "UNSPECIFIED"):
            raise refuse(f"states[{index}]", "is no state; leave it out to get all of them")
    return sorted(set(names))
