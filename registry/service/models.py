"""Use cases of models and the audit log."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from crossfade.event_words import kind
from registry.blocks import in_blocks
from registry.domain.lane import Lane, empty_lane
from registry.domain.ledger import Event, EventDraft
from registry.domain.records import Model, VersionInLane
from registry.filters import EventFilter
from registry.ports import Transaction, UnitOfWork
from registry.repositories import Page, RequestKey
from registry.service.lanes import ModelChange, commit, new_etag, open_lane, require_model
from registry.service.requests import Mutations
from services.common.errors import AbortedError, AlreadyExistsError

STATES_SHOWN = 100
"""Versions per lane that a model's answer lists."""
PAGE_ROWS: Final = 20_000
"""Lanes and states of their versions in one page of models. A hundred models with a thousand segments each have more
than is read within a caller's time."""


@dataclass(frozen=True, slots=True)
class LaneView:
    """A lane, and the states of its newest versions."""

    lane: Lane
    states: tuple[VersionInLane, ...]


@dataclass(frozen=True, slots=True)
class ModelView:
    """A model and its lanes, the default segment's first."""

    model: Model
    lanes: tuple[LaneView, ...]


class ModelService:
    """Models and the audit log."""

    def __init__(self, unit_of_work: UnitOfWork, mutations: Mutations) -> None:
        self._unit_of_work = unit_of_work
        self._mutations = mutations

    def create(
        self, key: RequestKey, model: str, description: str, encode: Callable[[ModelView], bytes], *, deadline: float
    ) -> bytes:
        """Creates a model with an empty default lane.

        Raises:
            AlreadyExistsError: MODEL_EXISTS.
        """

        def act(tx: Transaction, now: float) -> bytes:
            if tx.catalog.model(model) is not None:
                raise AlreadyExistsError(
                    "MODEL_EXISTS", f"there is a model {model} already; publish versions of it, or choose another id"
                )
            made = Model(
                model=model,
                description=description,
                created=now,
                next_version=1,
                next_rollout=1,
                event_sequence=0,
                event_hash="",
                etag="",
            )
            lane = empty_lane(model, "", new_etag())
            opened = open_lane(tx, lane, now=now, actor=key.principal, new=True)
            created = EventDraft("MODEL_CREATED", reason=f"{model} was created.")
            change = ModelChange(made, None, (opened,), (created,))
            (made,) = commit(tx, (change,), actor=key.principal, now=now)
            return encode(ModelView(made, (LaneView(opened.aggregate.lane, ()),)))

        return self._mutations.run(key, act, deadline=deadline)

    def update(
        self,
        key: RequestKey,
        model: str,
        description: str | None,
        etag: str,
        encode: Callable[[ModelView], bytes],
        *,
        deadline: float,
    ) -> bytes:
        """Changes what people wrote of a model.

        Args:
            description: None: it stays.
            etag: the model's, or empty: whatever it is now.

        Raises:
            NotFoundError: MODEL_NOT_FOUND.
            AbortedError: ETAG_STALE.
        """

        def act(tx: Transaction, now: float) -> bytes:
            before = require_model(tx, model)
            if etag:
                check_model_seen(tx, before, etag)
            if description is None or description == before.description:
                return encode(model_view(tx, before))
            changed = replace(before, description=description)
            event = EventDraft("MODEL_UPDATED", reason=f"The description of {model} was changed.")
            (after,) = commit(tx, (ModelChange(changed, before, (), (event,)),), actor=key.principal, now=now)
            return encode(model_view(tx, after))

        return self._mutations.run(key, act, deadline=deadline)

    def get(self, model: str, *, deadline: float) -> ModelView:
        """A model and its lanes.

        Raises:
            NotFoundError: MODEL_NOT_FOUND.
        """
        return self._unit_of_work.run(
            lambda tx: model_view(tx, require_model(tx, model)), deadline=deadline, read_only=True
        )

    def page(self, after: str, limit: int, *, deadline: float) -> Page[ModelView]:
        """Models by name, after the one named."""

        def read(tx: Transaction) -> Page[ModelView]:
            def ask(last: ModelView | None, wanted: int) -> list[ModelView]:
                return _views(tx, tx.catalog.models(after if last is None else last.model.model, wanted))

            # One alone may have more lanes and states than a page, which take a second to read.
            return in_blocks(ask, _rows, limit, PAGE_ROWS, first=1)

        return self._unit_of_work.run(read, deadline=deadline, read_only=True)

    def events(
        self, model: str, before: tuple[float, str, int] | None, limit: int, only: EventFilter, *, deadline: float
    ) -> list[Event]:
        """Events, newest first: of a model, or of all when it is empty.

        Raises:
            NotFoundError: MODEL_NOT_FOUND.
        """

        def read(tx: Transaction) -> list[Event]:
            if model:
                require_model(tx, model)
            return tx.ledger.page(model, before, limit, only)

        return self._unit_of_work.run(read, deadline=deadline, read_only=True)


def check_model_seen(tx: Transaction, model: Model, etag: str) -> None:
    """Refuses a change whose caller has not seen the model as it is, and says what happened to it last.

    Raises:
        AbortedError: ETAG_STALE.
    """
    if etag == model.etag:
        return
    latest = next(iter(tx.ledger.page(model.model, None, 1, EventFilter())), None)
    what = "" if latest is None else f": {kind(latest.draft.type)}, {latest.draft.reason!r}"
    raise AbortedError(
        "ETAG_STALE",
        f"{model.model} or one of its lanes has changed since you read it{what}; read it again and decide again",
        etag=model.etag,
    )


def lane_view(tx: Transaction, lane: Lane) -> LaneView:
    """A lane as it is answered."""
    states = tx.lanes.latest_states([lane.model], STATES_SHOWN, lane.segment)
    return LaneView(lane, tuple(states.get((lane.model, lane.segment), ())))


def model_view(tx: Transaction, model: Model) -> ModelView:
    """A model as it is answered."""
    return _views(tx, [model])[0]


def _rows(view: ModelView) -> int:
    return 1 + sum(1 + len(lane.states) for lane in view.lanes)


def _views(tx: Transaction, models: list[Model]) -> list[ModelView]:
    ids = [model.model for model in models]
    lanes = tx.lanes.of_models(ids)
    states = tx.lanes.latest_states(ids, STATES_SHOWN)
    return [
        ModelView(
            model,
            tuple(
                LaneView(lane, tuple(states.get((lane.model, lane.segment), ()))) for lane in lanes.get(model.model, ())
            ),
        )
        for model in models
    ]
