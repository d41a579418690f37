"""Answers to mutations, for those who ask again."""

from sqlalchemy import delete, select, tuple_
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.engine import Connection

from registry.database.tables import requests
from registry.ports import Answer, RequestKey


class SqlRequests:
    """The table requests."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, key: RequestKey) -> Answer | None:
        """The stored answer; None: this mutation was not carried out."""
        query = select(requests.c.digest, requests.c.answer).where(
            requests.c.principal == key.principal,
            requests.c.rpc == key.rpc,
            requests.c.request_id == key.request_id,
        )
        row = self._connection.execute(query).one_or_none()
        return None if row is None else Answer(row.digest, bytes(row.answer))

    def put(self, key: RequestKey, payload: bytes, now: float) -> bool:
        """Keeps an answer; False: there is one under this key."""
        statement = (
            upsert(requests)
            .values(
                principal=key.principal,
                rpc=key.rpc,
                request_id=key.request_id,
                digest=key.digest,
                answer=payload,
                created=now,
            )
            .on_conflict_do_nothing(index_elements=["principal", "rpc", "request_id"])
            .returning(requests.c.request_id)
        )
        return self._connection.execute(statement).one_or_none() is not None

    def purge(self, before: float, limit: int) -> int:
        """Forgets answers older than a moment, at most `limit` of them; answers how many."""
        key = (requests.c.principal, requests.c.rpc, requests.c.request_id)
        old = select(*key).where(requests.c.created < before).order_by(requests.c.created).limit(limit)
        statement = delete(requests).where(tuple_(*key).in_(old)).returning(requests.c.request_id)
        return len(self._connection.execute(statement).all())
