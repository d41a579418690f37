"""Answers to mutations, for those who ask again."""

from typing import Final

from sqlalchemy import delete, insert, select, tuple_
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from registry.database.columns import at, given
from registry.database.tables import requests
from registry.ports import Answer, RequestKey

_KEY: Final = (requests.c.principal, requests.c.rpc, requests.c.request_id)
_FIND: Final = select(requests.c.digest, requests.c.answer).where(given(*_KEY))
# Not ON CONFLICT DO NOTHING, which is compiled anew each time: a taken key ends the transaction anyway.
_PUT: Final = insert(requests)


class SqlRequests:
    """The table requests."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, key: RequestKey) -> Answer | None:
        """The stored answer; None: this mutation was not carried out."""
        wanted = at(principal=key.principal, rpc=key.rpc, request_id=key.request_id)
        row = self._connection.execute(_FIND, wanted).one_or_none()
        return None if row is None else Answer(row.digest, bytes(row.answer))

    def put(self, key: RequestKey, payload: bytes, now: float) -> bool:
        """Keeps an answer; False: there is one under this key, and the transaction cannot go on."""
        row = {
            "principal": key.principal,
            "rpc": key.rpc,
            "request_id": key.request_id,
            "digest": key.digest,
            "answer": payload,
            "created": now,
        }
        try:
            self._connection.execute(_PUT, row)
        except IntegrityError:
            return False
        return True

    def purge(self, before: float, limit: int) -> int:
        """Forgets answers older than a moment, at most `limit` of them; answers how many."""
        old = select(*_KEY).where(requests.c.created < before).order_by(requests.c.created).limit(limit)
        statement = delete(requests).where(tuple_(*_KEY).in_(old)).returning(requests.c.request_id)
        return len(self._connection.execute(statement).all())
