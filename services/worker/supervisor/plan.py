"""What the supervisor does next, as a pure function of what is wanted and what runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.worker.domain import Context, FailureCode, Lane, LaneContext, ServingKey, Traffic, WantedVersion

CRASH_WINDOW_SECONDS: Final = 600.0
CRASH_LIMIT: Final = 2
"""A version whose process crashes this often within the window has failed, unless it is a lane's stable one."""


FIRST_RESTART_SECONDS: Final = 1.0
LONGEST_RESTART_SECONDS: Final = 30.0
"""How long a stable version that crashes again and again waits for its next start: from the first to the longest, twice
as long each time."""


class Phase(StrEnum):
    """Where a held version is.

    WAITING: its source could not be reached, or its process not be started, and it is tried again. FETCHED: its turn to
    be loaded has not come.
    """

    FETCHING = "fetching"
    WAITING = "waiting"
    FETCHED = "fetched"
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    CRASHED = "crashed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Held:
    """What the supervisor has of one version and kind of traffic.

    Attributes:
        digest: the artifact's.
        phase: where it is.
        told: the context that its process has, or will have when it starts.
        crashes: when its processes crashed, by the monotonic clock, oldest first.
        retry_at: when one that waits or has failed is tried again, if it is at all; None: never.
    """

    digest: str
    phase: Phase
    told: Context
    crashes: tuple[float, ...] = ()
    retry_at: float | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a decision rests on.

    Attributes:
        now: seconds of the monotonic clock.
        lanes: the routes.
        held: what the supervisor has.
        fetched: (model, version) of the artifacts that lie in the cache.
        parallel_loads: how many versions may load at once.
        stopping: the supervisor ends; nothing is wanted any more.
    """

    now: float
    lanes: tuple[Lane, ...]
    held: Mapping[ServingKey, Held]
    fetched: frozenset[tuple[str, str]] = frozenset()
    parallel_loads: int = 1
    stopping: bool = False


@dataclass(frozen=True, slots=True)
class Fetch:
    """Bring the artifact of a version that is not held; also again after a crash or a failed fetch."""

    key: ServingKey
    wanted: WantedVersion
    context: Context


@dataclass(frozen=True, slots=True)
class Load:
    """Start the process of a version whose artifact is there."""

    key: ServingKey


@dataclass(frozen=True, slots=True)
class Tell:
    """Hand a changed context to a process."""

    key: ServingKey
    context: Context


@dataclass(frozen=True, slots=True)
class Drain:
    """Let a process answer what is under way and end."""

    key: ServingKey


@dataclass(frozen=True, slots=True)
class Abandon:
    """End a fetch or a load that nobody waits for any more."""

    key: ServingKey


@dataclass(frozen=True, slots=True)
class Forget:
    """Drop what is known of a version that nothing runs for and that is no longer wanted."""

    key: ServingKey


@dataclass(frozen=True, slots=True)
class Fail:
    """Report a version as failed."""

    key: ServingKey
    code: FailureCode
    message: str
    retry_at: float


Action = Fetch | Load | Tell | Drain | Abandon | Forget | Fail


def decide(snapshot: Snapshot) -> Action | None:
    """The next action, or None when all is as wanted. Applying it and asking again converges."""
    wanted = {} if snapshot.stopping else wanted_keys(snapshot.lanes)
    for key, held in snapshot.held.items():
        action = _for_held(snapshot, key, held, wanted.get(key))
        if action is not None:
            return action
    loading = sum(held.phase is Phase.LOADING for held in snapshot.held.values())
    for key, version in wanted.items():
        known = snapshot.held.get(key)
        if known is None:
            return Fetch(key, version, context_of(key, snapshot.lanes, snapshot.fetched))
        # What has crashed is missing at this moment, and is not kept waiting by what is only to come.
        if known.phase is Phase.FETCHED and (known.crashes or loading < snapshot.parallel_loads):
            return Load(key)
    return None


def recent_crashes(crashes: tuple[float, ...], now: float) -> tuple[float, ...]:
    """The crashes that count, oldest first."""
    return tuple(moment for moment in crashes if now - moment < CRASH_WINDOW_SECONDS)


def crash_message(crashes: tuple[float, ...]) -> str:
    """What is said of a version with these recent crashes."""
    minutes = CRASH_WINDOW_SECONDS / 60
    return f"its process crashed {len(crashes)} times within {minutes:.0f} minutes (the Worker's log has each of them)"


def wanted_keys(lanes: tuple[Lane, ...]) -> dict[ServingKey, WantedVersion]:
    """What the lanes want held, best first; a version that several lanes want is named once."""
    ranked: list[tuple[int, ServingKey, WantedVersion]] = []
    for lane in lanes:
        for rank, version in enumerate(lane.wanted):
            if version.version not in lane.failed_versions:
                ranked.extend(
                    (rank, ServingKey(lane.model, version.version, kind), version) for kind in version.traffic
                )
    ranked.sort(key=lambda entry: entry[0])
    found: dict[ServingKey, WantedVersion] = {}
    for _, key, version in ranked:
        found.setdefault(key, version)
    return found


def context_of(key: ServingKey, lanes: tuple[Lane, ...], fetched: frozenset[tuple[str, str]]) -> Context:
    """What the process of `key` has to know of the lanes that its version is in or has failed in."""
    contexts = []
    refused = []
    profiles = set()
    for lane in lanes:
        if lane.model != key.model:
            continue
        failed = key.version in lane.failed_versions
        if failed:
            refused.append(lane.segment)
        if failed or any(version.version == key.version for version in lane.wanted):
            contexts.append(LaneContext(lane.segment, lane.epoch, lane.slice_seconds, lane.watched))
        on_test = key.version == lane.test_version != lane.stable_version
        if on_test and (lane.model, lane.stable_version) in fetched:
            profiles.add(lane.stable_version)
    contexts.sort(key=lambda context: context.segment)
    return Context(tuple(contexts), tuple(sorted(refused)), tuple(sorted(profiles)))


def _for_held(snapshot: Snapshot, key: ServingKey, held: Held, wanted: WantedVersion | None) -> Action | None:
    context = context_of(key, snapshot.lanes, snapshot.fetched)
    runs = held.phase in (Phase.LOADING, Phase.READY, Phase.DRAINING)
    # When a version has left every lane, its process keeps the last context for the requests under way.
    if runs and context.lanes and context != held.told:
        return Tell(key, context)
    if wanted is None or wanted.artifact.digest != held.digest:
        match held.phase:
            case Phase.FETCHING | Phase.LOADING:
                return Abandon(key)
            case Phase.READY:
                return Drain(key)
            case Phase.DRAINING:
                return None
            case _:
                return Forget(key)
    if held.phase is Phase.CRASHED:
        return _after_crash(snapshot, key, held, Fetch(key, wanted, context))
    if _is_tried_again(key, held, snapshot.lanes) and held.retry_at is not None and held.retry_at <= snapshot.now:
        return Fetch(key, wanted, context)
    return None


def _is_tried_again(key: ServingKey, held: Held, lanes: tuple[Lane, ...]) -> bool:
    """Whether it may go better later. A version whose process ran here or that is stable has been loaded before: it
    fails to be loaded again for the machine's own reasons.
    """
    if held.phase is Phase.FAILED:
        return bool(held.crashes) or _is_stable(key, lanes)
    return held.phase is Phase.WAITING


def _after_crash(snapshot: Snapshot, key: ServingKey, held: Held, again: Fetch) -> Action | None:
    recent = recent_crashes(held.crashes, snapshot.now)
    if len(recent) < CRASH_LIMIT:
        return again
    if _is_stable(key, snapshot.lanes):
        # Nobody could answer in its place.
        pause = min(FIRST_RESTART_SECONDS * 2.0 ** (len(recent) - CRASH_LIMIT), LONGEST_RESTART_SECONDS)
        return again if snapshot.now - recent[-1] >= pause else None
    return Fail(key, FailureCode.CRASHED, crash_message(recent), recent[-CRASH_LIMIT] + CRASH_WINDOW_SECONDS)


def _is_stable(key: ServingKey, lanes: tuple[Lane, ...]) -> bool:
    """Whether it serves a lane's stable version to its callers; control has its traffic from them too."""
    named = any((lane.model, lane.stable_version) == (key.model, key.version) for lane in lanes)
    return named and key.traffic is Traffic.LIVE
