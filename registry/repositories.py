"""What is kept in a database, in the domain's words: of each kind of thing what can be asked and written."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from registry.domain.history import Moment, StateChange
from registry.domain.lane import Lane
from registry.domain.ledger import Event
from registry.domain.monitors import Monitor
from registry.domain.records import Model, Rollout, Version, VersionInLane, rollout_title
from registry.domain.routes import LaneRoutes
from registry.domain.serving import Instance, InstanceKind, Lease, Placement
from registry.domain.states import RolloutState, VersionState
from registry.domain.webhooks import Delivery, Turn
from registry.filters import EventFilter, RolloutFilter, VersionFilter

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RequestKey:
    """What makes a mutation the same one.

    Attributes:
        principal: who asks.
        rpc: the method's name.
        request_id: the caller's UUID.
        digest: hex SHA-256 of the request.
    """

    principal: str
    rpc: str
    request_id: str
    digest: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A mutation's stored answer and the digest of the request that it answered."""

    digest: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Position:
    """A revision of the routes.

    Attributes:
        revision: its number, which comes again when the database is put back to an earlier state.
        mark: drawn at random when it was written, so that it never comes again; empty: not known.
    """

    revision: int
    mark: str = ""


@dataclass(frozen=True, slots=True)
class RouteChange:
    """One lane's routes as of one revision, serialized (crossfade.registry.v1.LaneRoutes)."""

    position: Position
    payload: bytes


@dataclass(frozen=True, slots=True)
class KeptChanges:
    """Which changes of the routes there are.

    Attributes:
        oldest: the revision up to which they are no longer kept.
        latest: the latest revision.
        mark: of the revision that was asked for; empty: it has none, or is not kept.
    """

    oldest: int
    latest: int
    mark: str


@dataclass(frozen=True, slots=True)
class Look:
    """One recorded look, serialized (crossfade.common.v1.Analysis without its cursor).

    Attributes:
        cursor: serialized crossfade.common.v1.Counts; only the latest look has one.
        recorded: when, seconds since 1970; set when it is read.
    """

    sequence: int
    payload: bytes
    cursor: bytes = b""
    recorded: float = 0.0


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Rows of a list, in its order.

    Attributes:
        rows: as many as were asked for, or as there are, or as one answer holds.
        cut_short: there are more, which one answer does not hold.
    """

    rows: Sequence[T]
    cut_short: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """A rollout that is about to be changed, and what a change of it has to know.

    Attributes:
        revision: of the routes.
    """

    rollout: Rollout
    lane: Lane
    model: Model
    revision: int


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a rollout stands: what those are told who have not seen it so. Its attributes are as the rollout's."""

    number: int
    version: str
    state: RolloutState
    note: str
    etag: str
    analysis_sequence: int

    @property
    def title(self) -> str:
        """What messages call the rollout."""
        return rollout_title(self.number, self.version)


class Catalog(Protocol):
    """Models and versions."""

    def model(self, model: str) -> Model | None: ...
    def models(self, after: str, limit: int) -> list[Model]: ...
    def add_model(self, model: Model) -> None: ...
    def save_model(self, model: Model, before: Model) -> None: ...
    def version(self, model: str, version: str) -> Version | None: ...
    def versions(self, model: str, before_number: int | None, limit: int, only: VersionFilter) -> Page[Version]: ...
    def versions_by_id(self, model: str, ids: Iterable[str]) -> dict[str, Version]: ...
    def add_version(self, version: Version) -> None: ...
    def add_profile(self, model: str, version: str, profile: bytes) -> None: ...
    def profile(self, model: str, version: str) -> bytes: ...
    def lane_states(self, model: str, ids: Iterable[str]) -> dict[str, list[tuple[str, VersionState]]]: ...


class Lanes(Protocol):
    """Lanes, the states of their versions, and rollouts."""

    def lane(self, model: str, segment: str, *, removed_too: bool = False) -> Lane | None: ...
    def of_models(self, models: Iterable[str]) -> dict[str, list[Lane]]: ...
    def segments(self, model: str, limit: int) -> int: ...
    def expiring(self, now: float, limit: int) -> list[tuple[str, str]]: ...
    def add_lane(self, lane: Lane) -> None: ...
    def save_lane(self, lane: Lane, before: Lane) -> None: ...
    def states(
        self, model: str, segment: str, versions: Iterable[str]
    ) -> tuple[dict[str, VersionInLane], dict[str, list[Placement]]]: ...
    def latest_states(
        self, models: Iterable[str], limit: int, segment: str | None = None
    ) -> dict[tuple[str, str], list[VersionInLane]]: ...
    def states_of(self, model: str, wanted: Mapping[str, Collection[str]]) -> dict[str, dict[str, VersionInLane]]: ...
    def failed(self, model: str, segments: Sequence[str], limit: int) -> dict[str, list[str]]: ...
    def put_states(self, model: str, segment: str, states: Iterable[VersionInLane]) -> None: ...
    def rollout(self, model: str, number: int) -> Rollout | None: ...
    def whole_rollout(self, model: str, number: int) -> Rollout | None: ...
    def standing(self, model: str, number: int) -> Standing | None: ...
    def of_rollout(self, model: str, number: int) -> Seen | None: ...
    def rollouts(self, model: str, numbers: Iterable[int]) -> list[Rollout]: ...
    def page(
        self, model: str, before: tuple[float, str, int] | None, limit: int, only: RolloutFilter
    ) -> Page[Rollout]: ...
    def add_rollout(self, rollout: Rollout) -> None: ...
    def save_rollout(self, rollout: Rollout, before: Rollout) -> None: ...


class Fleet(Protocol):
    """Instances and what Workers serve."""

    def instance(self, instance_id: str) -> Instance | None: ...
    def instances_by_id(self, instance_ids: Iterable[str]) -> list[Instance]: ...
    def instances(self, kind: InstanceKind | None, after: tuple[str, str] | None, limit: int) -> list[Instance]: ...
    def renew(self, instance: Instance) -> bool: ...
    def put_instance(self, instance: Instance) -> None: ...
    def remove_instances(self, instance_ids: Iterable[str]) -> None: ...
    def leases(self) -> list[Lease]: ...
    def placements_on(self, instance_ids: Iterable[str]) -> list[Placement]: ...
    def placements_of(self, model: str, versions: Iterable[str]) -> list[Placement]: ...
    def put_placements(self, placements: Iterable[Placement]) -> None: ...
    def remove_placements(self, placements: Iterable[Placement]) -> None: ...


class Looks(Protocol):
    """Recorded looks."""

    def open(self, model: str, rollout: int) -> None: ...
    def record(self, model: str, rollout: int, look: Look, now: float) -> bool: ...
    def sequences(self, rollouts: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]: ...
    def page(self, model: str, rollout: int, after: int, limit: int) -> Page[Look]: ...
    def latest(self, model: str, rollout: int) -> Look | None: ...
    def purge(self, before: float, limit: int) -> int: ...


class Monitors(Protocol):
    """Lanes that are watched without a rollout."""

    def find(self, model: str, segment: str) -> Monitor | None: ...
    def save(self, monitor: Monitor, before: Monitor | None) -> bool: ...


class Ledger(Protocol):
    """The audit log."""

    def append(self, events: Iterable[Event]) -> None: ...
    def page(self, model: str, before: tuple[float, str, int] | None, limit: int, only: EventFilter) -> list[Event]: ...
    def aged(self, before: float, ahead: float, fewest: int, limit: int) -> list[str]: ...
    def oldest(self, model: str, limit: int) -> list[Event]: ...
    def remove(self, model: str, up_to: int) -> None: ...


class History(Protocol):
    """What every version's state was, at any time."""

    def note(self, model: str, segment: str, sequence: int, revision: int, states: Iterable[VersionInLane]) -> None: ...
    def of_lanes(self, model: str, moment: Moment, limit: int) -> dict[str, list[StateChange]]: ...
    def beginning(self, model: str) -> Moment | None: ...
    def latest(
        self,
        model: str,
        segment: str,
        moment: Moment,
        limit: int,
        *,
        state: VersionState | None = None,
        version: str = "",
    ) -> list[StateChange]: ...
    def rollout(self, model: str, segment: str, testing: StateChange) -> int: ...


class Outbox(Protocol):
    """Events that webhooks have yet to be told of."""

    def add(self, events: Iterable[Event]) -> None: ...
    def take_turn(self, webhook: str, seconds: float) -> Turn | None: ...
    def end_turn(self, turn: Turn, *, failures: int = 0, pause: float = 0.0) -> None: ...
    def remove(self, delivery: Delivery) -> None: ...
    def postpone(self, delivery: Delivery, seconds: float) -> None: ...
    def undelivered(self, limit: int) -> dict[str, int]: ...
    def oldest(self, webhook: str, limit: int) -> list[Delivery]: ...
    def hurry(self, webhook: str, seconds: float) -> None: ...
    def recall(self, webhook: str) -> None: ...
    def drop(self, webhook: str, model: str, before: float | None, limit: int) -> int: ...
    def purge(self, before: float, limit: int) -> int: ...


class RouteLog(Protocol):
    """The routes in force, and every change of them under its revision."""

    def revision(self) -> int: ...
    def latest(self) -> Position: ...
    def kept(self, revision: int) -> KeptChanges: ...
    def write(self, routes: Sequence[LaneRoutes]) -> int: ...
    def snapshot(self) -> tuple[Position, list[bytes]]: ...
    def changes(self, after: int, limit: int) -> list[RouteChange]: ...
    def compact(self, keep: int, most: int) -> int: ...


class Requests(Protocol):
    """Answers to mutations, for those who ask again."""

    def find(self, key: RequestKey) -> Answer | None: ...
    def put(self, key: RequestKey, payload: bytes, now: float) -> None: ...
    def purge(self, before: float, limit: int) -> int: ...
