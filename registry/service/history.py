"""A model as of a past moment."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final

from registry.domain.history import Moment, PastLane, StateChange, states_after
from registry.domain.records import Model
from registry.domain.states import VersionState
from registry.ports import Transaction, UnitOfWork
from registry.service.lanes import require_model
from registry.service.models import STATES_SHOWN
from services.common.clock import Clock
from services.common.errors import OutOfRangeError

_READ_CHANGES: Final = 5 * STATES_SHOWN
"""Changes of a lane that are looked through for its versions: each has a few in its life."""
_FEW_CHANGES: Final = 20
"""Of so many of each lane all is told without another question; most segments have fewer."""

_CLOCKS_APART_SECONDS: Final = 300.0
"""A caller's "now" may be so far ahead of ours."""


@dataclass(frozen=True, slots=True)
class PastModel:
    """A model and its lanes as they were; of the model itself, what never changes."""

    model: Model
    lanes: Sequence[PastLane]


class HistoryService:
    """The past.

    Args:
        unit_of_work: runs the transactions.
        clock: what has not come yet.
    """

    def __init__(self, unit_of_work: UnitOfWork, clock: Clock) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock

    def model(self, model: str, moment: Moment, *, deadline: float) -> PastModel:
        """A model as of a moment.

        Raises:
            NotFoundError: MODEL_NOT_FOUND.
            OutOfRangeError: HISTORY_UNKNOWN, the model or its history is younger, or the moment has not come yet.
        """
        return self._unit_of_work.run(
            lambda tx: _model_at(tx, model, moment, self._clock.now()), deadline=deadline, read_only=True
        )


def _model_at(tx: Transaction, name: str, moment: Moment, now: float) -> PastModel:
    model = require_model(tx, name)
    if moment.revision > (latest := tx.routes.revision()):
        raise OutOfRangeError("HISTORY_UNKNOWN", f"revision {moment.revision} has not come yet; the latest is {latest}")
    begins = tx.history.beginning(name)
    if begins is not None and (moment.revision < begins.revision if moment.revision else moment.time < begins.time):
        raise OutOfRangeError(
            "HISTORY_UNKNOWN",
            f"the history of {name} begins with revision {begins.revision}, when the Registry was upgraded; its events "
            "tell what was before",
        )
    if not moment.revision and moment.time > now + _CLOCKS_APART_SECONDS:
        raise OutOfRangeError("HISTORY_UNKNOWN", "that moment has not come yet; without one you see the present")
    if not moment.revision and moment.time < model.created:
        created = datetime.fromtimestamp(model.created, UTC)
        raise OutOfRangeError(
            "HISTORY_UNKNOWN",
            f"model {name} was created after that moment, at {created:%Y-%m-%d %H:%M:%S} UTC; ask for a later one",
        )
    latest_changes = tx.history.of_lanes(name, moment, _FEW_CHANGES)
    lanes = [_lane_at(tx, name, segment, moment, changes) for segment, changes in latest_changes.items()]
    if moment.revision and not lanes:
        _check_created(tx, name, moment.revision)
    return PastModel(model, lanes)


def _check_created(tx: Transaction, model: str, revision: int) -> None:
    """Refuses a revision before a model's creation, which its first event tells as long as that is kept.

    Raises:
        OutOfRangeError: HISTORY_UNKNOWN.
    """
    first = next(iter(tx.ledger.oldest(model, 1)), None)
    if first is None or first.sequence > 1:
        raise OutOfRangeError(
            "HISTORY_UNKNOWN",
            f"{model} had no version as of revision {revision}, and the event that told of its creation was removed; "
            "ask by time",
        )
    if revision < first.revision:
        raise OutOfRangeError(
            "HISTORY_UNKNOWN", f"model {model} was created after that moment, with revision {first.revision}"
        )


def _lane_at(tx: Transaction, model: str, segment: str, moment: Moment, changes: Sequence[StateChange]) -> PastLane:
    """A lane as it was, given its latest changes, which are all of them if they are few."""
    ask: Callable[[VersionState], StateChange | None]
    if len(changes) < _FEW_CHANGES:
        ask = partial(_last_into, changes)
    else:
        changes = tx.history.latest(model, segment, moment, _READ_CHANGES)
        ask = partial(_find_last_into, tx, model, segment, moment)
    stable, testing = ask(VersionState.STABLE), ask(VersionState.TESTING)
    return PastLane(
        segment,
        "" if stable is None else stable.version,
        None if stable is None else stable.since,
        0 if testing is None else tx.history.rollout(model, segment, testing),
        states_after(changes)[:STATES_SHOWN],
    )


def _last_into(changes: Sequence[StateChange], state: VersionState) -> StateChange | None:
    """The change that brought a version into a state that one version of a lane has; None: none had it then.

    Args:
        changes: all of the lane's, newest first.
        state: the state.
    """
    found = next((one for one in changes if one.state is state), None)
    if found is None:
        return None
    last = next(one for one in changes if one.version == found.version)
    return found if last is found else None


def _find_last_into(
    tx: Transaction, model: str, segment: str, moment: Moment, state: VersionState
) -> StateChange | None:
    """As `_last_into`, asked of the database for a lane with more changes than are read."""
    found = next(iter(tx.history.latest(model, segment, moment, 1, state=state)), None)
    if found is None:
        return None
    (last,) = tx.history.latest(model, segment, moment, 1, version=found.version)
    return found if last.state is state else None
