"""Use cases of versions: publication, and what is known of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from registry.domain.ledger import EventDraft
from registry.domain.records import Artifact, Model, Rollout, Signature, Spec, Version
from registry.domain.serving import Placement
from registry.domain.signature import check_compatible
from registry.domain.states import VersionState
from registry.filters import VersionFilter
from registry.ports import Transaction, UnitOfWork
from registry.repositories import Page, RequestKey
from registry.service.lanes import ModelChange, commit, require_model
from registry.service.requests import Mutations
from registry.service.segment_rules import begin_with_default, check_unwatched, check_watched, open_or_make_lane
from services.common.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError


@dataclass(frozen=True, slots=True)
class Publication:
    """What is to be published.

    Attributes:
        version: its id; empty: the next `vN`.
        profile: a serialized crossfade.common.v1.ReferenceProfile, which the Registry keeps and does not read; empty:
            none.
        segment: the lane.
        spec: how its rollout is to be done; None: start nothing.
        allow_incompatible: publish although callers of the stable version could not use it.
    """

    model: str
    version: str
    artifact: Artifact
    signature: Signature
    profile: bytes
    description: str
    segment: str
    spec: Spec | None
    allow_incompatible: bool


@dataclass(frozen=True, slots=True)
class VersionView:
    """A version, its states as (segment, state), what Workers say of it, and its serialized reference profile."""

    version: Version
    states: Sequence[tuple[str, VersionState]]
    placements: Sequence[Placement] = ()
    profile: bytes = b""


@dataclass(frozen=True, slots=True)
class PublishedView:
    """What a publication did; `note` says it in one sentence."""

    version: VersionView
    rollout: Rollout | None
    note: str


def require_version(tx: Transaction, model: str, version: str) -> Version:
    """The version.

    Raises:
        NotFoundError: MODEL_NOT_FOUND, VERSION_NOT_FOUND.
    """
    found = tx.catalog.version(model, version)
    if found is None:
        require_model(tx, model)
        raise NotFoundError(
            "VERSION_NOT_FOUND",
            f"model {model} has no version {version}; `crossfade versions {model}` lists them",
            model=model,
            version=version,
        )
    return found


def check_against_stable(tx: Transaction, stable: str, version: Version) -> None:
    """Refuses a version that the callers of a lane's stable version (empty: there is none) could not use.

    Raises:
        FailedPreconditionError: SIGNATURE_INCOMPATIBLE.
    """
    if stable and stable != version.version:
        known = require_version(tx, version.model, stable)
        check_compatible(version.version, stable, known.signature, version.signature)


class VersionService:
    """Publishes versions, once per request id, and reads them with what Workers say of them.

    Raises, besides what each method says: InvalidArgumentError REQUEST_ID_REUSED.

    Args:
        unit_of_work: what reads run in.
        mutations: what publishing runs in.
    """

    def __init__(self, unit_of_work: UnitOfWork, mutations: Mutations) -> None:
        self._unit_of_work = unit_of_work
        self._mutations = mutations

    def publish(
        self, key: RequestKey, wanted: Publication, encode: Callable[[PublishedView], bytes], *, deadline: float
    ) -> bytes:
        """Publishes a version: stable at once as the lane's first, otherwise with a rollout unless told not to.

        Raises:
            NotFoundError: MODEL_NOT_FOUND.
            AlreadyExistsError: VERSION_EXISTS.
            FailedPreconditionError: SIGNATURE_INCOMPATIBLE, SEGMENT_ELSEWHERE, SEGMENT_WATCHED.
        """
        return self._mutations.run(
            key, lambda tx, now: encode(_publish(tx, wanted, key.principal, now)), deadline=deadline
        )

    def get(self, model: str, version: str, *, deadline: float) -> VersionView:
        """A version and what each Worker says of it.

        Raises:
            NotFoundError: MODEL_NOT_FOUND, VERSION_NOT_FOUND.
        """

        def read(tx: Transaction) -> VersionView:
            found = require_version(tx, model, version)
            states = tx.catalog.lane_states(model, (version,)).get(version, [])
            placements = tx.fleet.placements_of(model, (version,))
            return VersionView(found, states, placements, tx.catalog.profile(model, version))

        return self._unit_of_work.run(read, deadline=deadline, read_only=True)

    def page(
        self, model: str, before_number: int | None, limit: int, only: VersionFilter, *, deadline: float
    ) -> Page[VersionView]:
        """Versions of a model, newest first.

        Raises:
            NotFoundError: MODEL_NOT_FOUND.
        """

        def read(tx: Transaction) -> Page[VersionView]:
            require_model(tx, model)
            found = tx.catalog.versions(model, before_number, limit, only)
            states = tx.catalog.lane_states(model, [one.version for one in found.rows])
            return Page([VersionView(one, states.get(one.version, [])) for one in found.rows], found.cut_short)

        return self._unit_of_work.run(read, deadline=deadline, read_only=True)


def _publish(tx: Transaction, wanted: Publication, actor: str, now: float) -> PublishedView:
    before = require_model(tx, wanted.model)
    model, version = _place(tx, before, wanted, actor, now)
    if wanted.spec is not None:
        check_watched(tx, wanted.model, wanted.segment, wanted.spec)
    opened = open_or_make_lane(tx, wanted.model, wanted.segment, now=now, actor=actor, version=version.version)
    if opened.lane is None or opened.lane.removed:
        check_unwatched(tx, wanted.model, wanted.segment)
    aggregate = opened.aggregate
    aggregate.reopen()
    if wanted.spec is not None:
        begin_with_default(tx, opened)
    if not wanted.allow_incompatible:
        check_against_stable(tx, aggregate.lane.stable_version, version)
    tx.catalog.add_version(version)
    if wanted.profile:
        tx.catalog.add_profile(version.model, version.version, wanted.profile)
    aggregate.add(version.version)
    published = EventDraft(
        "VERSION_PUBLISHED",
        wanted.segment,
        version.version,
        reason=version.description or f"{version.version} was published.",
    )
    number = 0
    if wanted.spec is None:
        note = f"{version.version} is PENDING and has no traffic; start a rollout of it when you want one."
    elif not aggregate.lane.stable_version and aggregate.live is None:
        if wanted.spec.approval_required:
            raise FailedPreconditionError(
                "APPROVAL_IMPOSSIBLE",
                f"{version.version} is the lane's first version and stable at once, with no rollout that could "
                "wait for a person; publish it without asking for an approval, or without a rollout",
            )
        check_unwatched(tx, wanted.model, wanted.segment)
        aggregate.establish(version.version)
        note = f"{version.version} is the lane's first version and stable at once."
    else:
        number = model.next_rollout
        model = replace(model, next_rollout=number + 1)
        spec = replace(wanted.spec, allow_incompatible=wanted.allow_incompatible)
        note = aggregate.start(version.version, spec, number).note
    commit(tx, (ModelChange(model, before, (opened,), (published,)),), actor=actor, now=now)
    states = tx.catalog.lane_states(wanted.model, (version.version,)).get(version.version, [])
    return PublishedView(VersionView(version, states), aggregate.of(number), note)


def _place(tx: Transaction, model: Model, wanted: Publication, actor: str, now: float) -> tuple[Model, Version]:
    """The version with its id and number, and the model that has counted it."""
    number = model.next_version
    name = wanted.version
    if not name:
        while tx.catalog.version(model.model, f"v{number}") is not None:
            number += 1
        name = f"v{number}"
    elif tx.catalog.version(model.model, name) is not None:
        raise AlreadyExistsError(
            "VERSION_EXISTS",
            f"model {model.model} has a version {name} already, and versions never change; publish under another id",
            version=name,
        )
    version = Version(model.model, name, number, wanted.artifact, wanted.signature, wanted.description, now, actor)
    return replace(model, next_version=number + 1), version
