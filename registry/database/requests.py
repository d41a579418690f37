"""Answers to mutations, for those who ask again."""

from typing import Final

from sqlalchemy import select

from registry.database.columns import at, given
from registry.database.oldest import remove_oldest
from registry.database.session import Session
from registry.database.tables import requests
from registry.repositories import Answer, RequestKey

_KEY: Final = (requests.c.principal, requests.c.rpc, requests.c.request_id)
_FIND: Final = select(requests.c.digest, requests.c.answer).where(given(*_KEY))


class SqlRequests:
    """The table requests."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self, key: RequestKey) -> Answer | None:
        """The stored answer; None: this mutation was not carried out."""
        wanted = at(principal=key.principal, rpc=key.rpc, request_id=key.request_id)
        row = self._session.execute(_FIND, wanted).one_or_none()
        return None if row is None else Answer(row.digest, bytes(row.answer))

    def put(self, key: RequestKey, payload: bytes, now: float) -> None:
        """Keeps an answer; if there is one under this key, the transaction ends with `DoneBefore`."""
        row = {
            "principal": key.principal,
            "rpc": key.rpc,
            "request_id": key.request_id,
            "digest": key.digest,
            "answer": payload,
            "created": now,
        }
        self._session.add(requests, row, once=True)

    def purge(self, before: float, limit: int) -> int:
        """Forgets answers older than a moment, at most `limit` of them; answers how many."""
        created = requests.c.created
        oldest = select(created).where(created < before).order_by(created).limit(limit)
        times = self._session.execute(oldest).scalars().all()
        return len(remove_oldest(self._session, created, times, created < before, (requests.c.request_id,)))
