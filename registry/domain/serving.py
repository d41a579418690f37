"""What Workers serve, and when a version counts as ready there."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

APART_SECONDS: Final = 300.0
"""By so much the clocks of two replicas may differ."""


class InstanceKind(StrEnum):
    """Kinds of processes."""

    ROUTER = "ROUTER"
    WORKER = "WORKER"
    EVALUATOR = "EVALUATOR"


class ServingState(StrEnum):
    """How far a Worker is with a version."""

    LOADING = "LOADING"
    READY = "READY"
    FAILED = "FAILED"
    DRAINING = "DRAINING"


class Traffic(StrEnum):
    """The kinds of traffic that a Worker has addresses for."""

    LIVE = "LIVE"
    CONTROL = "CONTROL"


@dataclass(frozen=True, slots=True)
class Serving:
    """One version and kind of traffic on one Worker, as it reported.

    Attributes:
        load_report: a serialized crossfade.registry.v1.LoadReport, kept and not read; empty: none.
    """

    model: str
    version: str
    traffic: Traffic
    address: str
    state: ServingState
    error: str = ""
    error_code: str = ""
    load_report: bytes = b""

    @property
    def key(self) -> tuple[str, str, Traffic]:
        """What it is, within the Worker."""
        return (self.model, self.version, self.traffic)


@dataclass(frozen=True, slots=True)
class Placement:
    """A serving as the Registry takes it.

    Attributes:
        ready: requests are sent there.
        since: when it came into its reported state, seconds since 1970.
    """

    instance_id: str
    serving: Serving
    ready: bool
    since: float


@dataclass(frozen=True, slots=True)
class Instance:
    """One start of one process, and its lease.

    Attributes:
        ttl: length of the lease in seconds.
        reported: when it last reported.
        expires: when the lease ends.
        recheck: when a loss of readiness has to be looked at again; None: none is pending.
        digest: hash of what it reported, so that an unchanged report costs one statement.
        sequence: number of the latest report that was taken; 0: its process numbers none.
        gone: it has left; it is known until its lease would have ended, so that no report from before takes it back.
        owner: the principal that reports it, by its certificate; empty: not known.
    """

    instance_id: str
    kind: InstanceKind
    address: str
    ttl: float
    reported: float
    expires: float
    recheck: float | None
    digest: str
    sequence: int = 0
    gone: bool = False
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Lease:
    """An instance as far as its lease goes; the attributes are those of `Instance`."""

    instance_id: str
    ttl: float
    reported: float
    recheck: float | None


def settle(
    instance_id: str,
    reported: Iterable[Serving],
    before: Mapping[tuple[str, str, Traffic], Placement],
    *,
    now: float,
    debounce: float,
) -> tuple[tuple[Placement, ...], float | None]:
    """What a report means: debounced readiness.

    A version that was ready and is loading again (its process crashed and is started again at the same address) stays
    ready for `debounce` seconds, since most are back before that and the Router tries other Workers by itself. FAILED,
    DRAINING and absent count at once, and so does READY.

    Returns:
        The placements, and when to look again (None: nothing is pending).
    """
    placements = []
    recheck: float | None = None
    for serving in reported:
        old = before.get(serving.key)
        if old is None:
            placements.append(Placement(instance_id, serving, serving.state is ServingState.READY, now))
            continue
        # What lies ahead was written by a clock that was set back since.
        since = min(old.since, now) if old.serving.state is serving.state else now
        until = since + debounce
        if serving.state is ServingState.LOADING and old.ready and now < until:
            # The address is kept, for the process comes back where it was.
            kept = replace(serving, address=serving.address or old.serving.address)
            placements.append(Placement(instance_id, kept, ready=True, since=since))
            recheck = until if recheck is None else min(recheck, until)
        else:
            placements.append(Placement(instance_id, serving, serving.state is ServingState.READY, since))
    return tuple(placements), recheck


def is_due(recheck: float | None, now: float, debounce: float) -> bool:
    """Whether a loss of readiness has to be looked at again.

    None is put off by much more than `debounce`, but by a clock that was set back since.
    """
    return recheck is not None and not now < recheck <= now + debounce + APART_SECONDS


def ready_workers(placements: Iterable[Placement], version: str) -> int:
    """How many Workers have the version ready for live traffic."""
    return len({one.instance_id for one in placements if one.ready and _is(one, version, Traffic.LIVE)})


def can_begin(placements: Iterable[Placement], *, version: str, stable_version: str) -> bool:
    """Whether a rollout's RUNNING may begin.

    Some Worker must have the test version ready, and there stable's control process must be ready or have failed: while
    it is still to come, the arms would not be comparable.
    """
    placements = tuple(placements)
    ready = {one.instance_id for one in placements if one.ready and _is(one, version, Traffic.LIVE)}
    settled = {
        one.instance_id
        for one in placements
        if _is(one, stable_version, Traffic.CONTROL) and one.serving.state is not ServingState.LOADING
    }
    return not ready.isdisjoint(settled)


def _is(placement: Placement, version: str, traffic: Traffic) -> bool:
    return placement.serving.version == version and placement.serving.traffic is traffic
