"""Instances, their leases, and what Workers serve."""

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import BigInteger, Row, bindparam, delete, false, func, literal, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert

from registry.database.columns import Moment, at, given, given_any
from registry.database.rows import placement_of
from registry.database.session import Session
from registry.database.tables import instances, readiness
from registry.domain.serving import Instance, InstanceKind, Lease, Placement

_PLACEMENT_KEY = ("instance_id", "model", "version", "traffic")

_RENEW: Final = (
    update(instances)
    .where(given(instances.c.instance_id, instances.c.digest, instances.c.owner))
    .values(
        sequence=func.greatest(instances.c.sequence, bindparam("at_sequence", type_=BigInteger)),
        reported=bindparam("at_reported", type_=Moment),
        expires=bindparam("at_expires", type_=Moment),
    )
    .returning(instances.c.instance_id)
)
_PLACEMENTS: Final = (
    select(readiness)
    .where(given(readiness.c.model), given_any(readiness.c.version))
    .order_by(*(readiness.c[name] for name in _PLACEMENT_KEY))
)


class SqlFleet:
    """The tables instances and readiness."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def instance(self, instance_id: str) -> Instance | None:
        """An instance, one that is gone as well; None: there is none."""
        return next(iter(self.instances_by_id((instance_id,))), None)

    def instances_by_id(self, instance_ids: Iterable[str]) -> list[Instance]:
        """The instances of these ids, as far as there are such, those that are gone as well."""
        query = select(instances).where(instances.c.instance_id.in_(tuple(instance_ids)))
        return [_instance(row) for row in self._session.execute(query)]

    def instances(self, kind: InstanceKind | None, after: tuple[str, str] | None, limit: int) -> list[Instance]:
        """Instances by kind and id."""
        order = (instances.c.kind, instances.c.instance_id)
        query = select(instances).where(instances.c.gone == false()).order_by(*order).limit(limit)
        if kind is not None:
            query = query.where(instances.c.kind == str(kind))
        if after is not None:
            query = query.where(tuple_(*order) > tuple_(*(literal(value) for value in after)))
        return [_instance(row) for row in self._session.execute(query)]

    def renew(self, instance: Instance) -> bool:
        """Renews a lease in one statement, if its report and owner are those that are stored; False: they are not."""
        row = at(
            instance_id=instance.instance_id,
            digest=instance.digest,
            owner=instance.owner,
            sequence=instance.sequence,
            reported=instance.reported,
            expires=instance.expires,
        )
        return self._session.execute(_RENEW, row).one_or_none() is not None

    def put_instance(self, instance: Instance) -> None:
        """Writes an instance."""
        values = {
            "kind": str(instance.kind),
            "address": instance.address,
            "ttl": instance.ttl,
            "reported": instance.reported,
            "expires": instance.expires,
            "recheck": instance.recheck,
            "digest": instance.digest,
            "sequence": instance.sequence,
            "gone": instance.gone,
            "owner": instance.owner,
        }
        statement = upsert(instances).values(instance_id=instance.instance_id, **values)
        self._session.execute(statement.on_conflict_do_update(index_elements=["instance_id"], set_=values))

    def remove_instances(self, instance_ids: Iterable[str]) -> None:
        """Removes instances and what they served."""
        ids = tuple(instance_ids)
        for table in (readiness, instances):
            self._session.execute(delete(table).where(table.c.instance_id.in_(ids)))

    def leases(self) -> list[Lease]:
        """The leases of all instances, of those that are gone as well."""
        columns = (instances.c.instance_id, instances.c.ttl, instances.c.reported, instances.c.recheck)
        return [Lease(*row) for row in self._session.execute(select(*columns))]

    def placements_on(self, instance_ids: Iterable[str]) -> list[Placement]:
        """What these Workers serve."""
        query = (
            select(readiness)
            .where(readiness.c.instance_id.in_(tuple(instance_ids)))
            .order_by(*(readiness.c[name] for name in _PLACEMENT_KEY))
        )
        return [placement_of(row) for row in self._session.execute(query)]

    def placements_of(self, model: str, versions: Iterable[str]) -> list[Placement]:
        """Where these versions are served."""
        rows = self._session.execute(_PLACEMENTS, at(model=model, version=tuple(versions)))
        return [placement_of(row) for row in rows]

    def put_placements(self, placements: Iterable[Placement]) -> None:
        """Writes placements."""
        for one in placements:
            serving = one.serving
            values = {
                "address": serving.address,
                "state": str(serving.state),
                "error": serving.error,
                "error_code": serving.error_code,
                "load_report": serving.load_report,
                "ready": one.ready,
                "since": one.since,
            }
            statement = upsert(readiness).values(
                instance_id=one.instance_id,
                model=serving.model,
                version=serving.version,
                traffic=str(serving.traffic),
                **values,
            )
            self._session.execute(statement.on_conflict_do_update(index_elements=list(_PLACEMENT_KEY), set_=values))

    def remove_placements(self, placements: Iterable[Placement]) -> None:
        """Removes placements."""
        for one in placements:
            self._session.execute(
                delete(readiness).where(
                    readiness.c.instance_id == one.instance_id,
                    readiness.c.model == one.serving.model,
                    readiness.c.version == one.serving.version,
                    readiness.c.traffic == str(one.serving.traffic),
                )
            )


def _instance(row: Row[Any]) -> Instance:
    return Instance(
        row.instance_id,
        InstanceKind(row.kind),
        row.address,
        row.ttl,
        row.reported,
        row.expires,
        row.recheck,
        row.digest,
        row.sequence,
        row.gone,
        row.owner,
    )
