"""Models and versions."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, exists, insert, select

from crossfade.common.v1 import model_pb2
from registry import converters
from registry.blocks import in_blocks
from registry.database.columns import at, given, given_any
from registry.database.rows import model_of
from registry.database.session import Session
from registry.database.tables import lane_versions, models, profiles, versions
from registry.domain.records import Artifact, Model, Version
from registry.domain.states import VersionState
from registry.filters import VersionFilter
from registry.repositories import Page

_MODEL: Final = select(models).where(given(models.c.model))
_VERSIONS: Final = select(versions).where(given(versions.c.model), given_any(versions.c.version))


class SqlCatalog:
    """The tables models, versions and profiles."""

    def __init__(self, session: Session) -> None:
        self._session = session
        # They never change, and a model's lanes have the same ones.
        self._read: dict[tuple[str, str], Version] = {}

    def model(self, model: str) -> Model | None:
        """A model; None: there is none."""
        row = self._session.execute(_MODEL, at(model=model)).one_or_none()
        return None if row is None else model_of(row)

    def models(self, after: str, limit: int) -> list[Model]:
        """Models by name, after the one named."""
        query = select(models).where(models.c.model > after).order_by(models.c.model).limit(limit)
        return [model_of(row) for row in self._session.execute(query)]

    def add_model(self, model: Model) -> None:
        """Writes a new model."""
        self._session.execute(insert(models).values(**_model_values(model)))

    def save_model(self, model: Model, before: Model) -> None:
        """Compares and sets: the model must be as it was read."""
        seen = {"model": model.model, "event_sequence": before.event_sequence, "etag": before.etag}
        self._session.change(models, seen, _model_values(before), _model_values(model), model.model)

    def version(self, model: str, version: str) -> Version | None:
        """A version; None: there is none."""
        return self.versions_by_id(model, (version,)).get(version)

    def versions(self, model: str, before_number: int | None, limit: int, only: VersionFilter) -> Page[Version]:
        """Versions of a model, newest first."""
        query = select(versions).where(versions.c.model == model)
        if only.segment is not None or only.states:
            query = query.where(_in_lane(only))
        query = query.order_by(versions.c.number.desc())

        def ask(last: Row[Any] | None, wanted: int) -> Sequence[Row[Any]]:
            before = before_number if last is None else last.number
            page = query if before is None else query.where(versions.c.number < before)
            return self._session.execute(page.limit(wanted)).all()

        found = in_blocks(ask, lambda row: len(row.signature), limit)
        return Page([_version(row) for row in found.rows], found.cut_short)

    def versions_by_id(self, model: str, ids: Iterable[str]) -> dict[str, Version]:
        """The versions of these ids, as far as there are such."""
        ids = tuple(ids)
        if unread := tuple(one for one in ids if (model, one) not in self._read):
            rows = self._session.execute(_VERSIONS, at(model=model, version=unread))
            self._read |= {(model, row.version): _version(row) for row in rows}
        return {one: self._read[model, one] for one in ids if (model, one) in self._read}

    def add_version(self, version: Version) -> None:
        """Writes a new version."""
        self._session.execute(
            insert(versions).values(
                model=version.model,
                version=version.version,
                number=version.number,
                artifact_uri=version.artifact.uri,
                artifact_digest=version.artifact.digest,
                artifact_bytes=version.artifact.size_bytes,
                signature=converters.pack(converters.signature_to_proto(version.signature)),
                description=version.description,
                created=version.created,
                creator=version.creator,
            )
        )

    def add_profile(self, model: str, version: str, profile: bytes) -> None:
        """Writes a new version's reference profile."""
        self._session.execute(insert(profiles).values(model=model, version=version, profile=profile))

    def profile(self, model: str, version: str) -> bytes:
        """A version's reference profile; empty: it has none."""
        query = select(profiles.c.profile).where(profiles.c.model == model, profiles.c.version == version)
        return bytes(self._session.execute(query).scalar() or b"")

    def lane_states(self, model: str, ids: Iterable[str]) -> dict[str, list[tuple[str, VersionState]]]:
        """The states of versions in each lane, by version, as (segment, state)."""
        query = (
            select(lane_versions.c.version, lane_versions.c.segment, lane_versions.c.state)
            .where(lane_versions.c.model == model, lane_versions.c.version.in_(tuple(ids)))
            .order_by(lane_versions.c.segment)
        )
        found: dict[str, list[tuple[str, VersionState]]] = {}
        for row in self._session.execute(query):
            found.setdefault(row.version, []).append((row.segment, VersionState(row.state)))
        return found


def _in_lane(only: VersionFilter) -> ColumnElement[bool]:
    found = exists().where(lane_versions.c.model == versions.c.model, lane_versions.c.version == versions.c.version)
    if only.segment is not None:
        found = found.where(lane_versions.c.segment == only.segment)
    if only.states:
        found = found.where(lane_versions.c.state.in_(sorted(only.states)))
    return found


def _model_values(model: Model) -> dict[str, Any]:
    return {
        "model": model.model,
        "description": model.description,
        "created": model.created,
        "next_version": model.next_version,
        "next_rollout": model.next_rollout,
        "event_sequence": model.event_sequence,
        "event_hash": model.event_hash,
        "etag": model.etag,
        "compacted_sequence": model.compacted_sequence,
        "compacted_hash": model.compacted_hash,
    }


def _version(row: Row[Any]) -> Version:
    return Version(
        model=row.model,
        version=row.version,
        number=row.number,
        artifact=Artifact(row.artifact_uri, row.artifact_digest, row.artifact_bytes),
        signature=converters.signature_from_proto(model_pb2.Signature.FromString(row.signature)),
        description=row.description,
        created=row.created,
        creator=row.creator,
    )
