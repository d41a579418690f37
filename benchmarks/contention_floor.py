"""The least that a transition can be: one compare-and-set, its event and its answer in a serializable transaction.

`python -m benchmarks.contention_floor` serves GetRollout, PauseRollout and ResumeRollout of one rollout over bare
grpc.aio and psycopg, with no rules, routes, leases, roles or history: what the Registry's transitions are held against.
CROSSFADE_LISTEN and CROSSFADE_DATABASE as the Registry's.
"""

import asyncio
import os
import signal
import uuid
from typing import TYPE_CHECKING, Any, Final

import grpc
import psycopg
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc import aio
from psycopg import errors
from sqlalchemy import make_url

from crossfade.errors import DETAILS_KEY
from crossfade.registry.v1 import resources_pb2, service_pb2, service_pb2_grpc

_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS floor_rollouts (name TEXT PRIMARY KEY, state TEXT NOT NULL, etag TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS floor_events (id TEXT PRIMARY KEY, name TEXT NOT NULL, reason TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS floor_requests (id TEXT PRIMARY KEY, answer BYTEA NOT NULL)",
)
_CHANGE: Final = "UPDATE floor_rollouts SET state = %s, etag = %s WHERE name = %s AND etag = %s AND state = %s"
_STATES: Final = {"RUNNING": resources_pb2.ROLLOUT_STATE_RUNNING, "PAUSED": resources_pb2.ROLLOUT_STATE_PAUSED}


if TYPE_CHECKING:
    # mypy takes every method of a servicer for abstract; at run time those left out answer UNIMPLEMENTED.
    _Servicer = object
else:
    _Servicer = service_pb2_grpc.RegistryServiceServicer


class Floor(_Servicer):
    """Transitions without anything else.

    Args:
        writer: changes the rollout, one call at a time.
        reader: tells what it is.
    """

    def __init__(self, writer: "psycopg.AsyncConnection[Any]", reader: "psycopg.AsyncConnection[Any]") -> None:
        self._writer, self._reader = writer, reader
        self._turn, self._reading = asyncio.Lock(), asyncio.Lock()

    async def GetRollout(self, request: service_pb2.GetRolloutRequest, context: Any) -> resources_pb2.Rollout:  # noqa: N802
        """The rollout."""
        del context
        state, etag = await self._read(request.name)
        return resources_pb2.Rollout(name=request.name, state=_STATES[state], etag=etag)

    async def PauseRollout(self, request: service_pb2.PauseRolloutRequest, context: Any) -> resources_pb2.Rollout:  # noqa: N802
        """RUNNING to PAUSED."""
        return await self._change(request, context, "RUNNING", "PAUSED")

    async def ResumeRollout(self, request: service_pb2.ResumeRolloutRequest, context: Any) -> resources_pb2.Rollout:  # noqa: N802
        """PAUSED to RUNNING."""
        return await self._change(request, context, "PAUSED", "RUNNING")

    async def _change(self, request: Any, context: Any, before: str, state: str) -> resources_pb2.Rollout:
        etag = uuid.uuid4().hex
        after = resources_pb2.Rollout(name=request.name, state=_STATES[state], etag=etag)
        try:
            async with self._turn, self._writer.transaction():
                done = await self._writer.execute(_CHANGE, (state, etag, request.name, request.etag, before))
                if done.rowcount:
                    event = (etag, request.name, request.reason)
                    await self._writer.execute("INSERT INTO floor_events VALUES (%s, %s, %s)", event)
                    answer = (request.request_id, after.SerializeToString())
                    await self._writer.execute("INSERT INTO floor_requests VALUES (%s, %s)", answer)
        except errors.SerializationFailure:
            done = None
        if done is not None and done.rowcount:
            return after
        state, etag = await self._read(request.name)
        info = error_details_pb2.ErrorInfo(reason="ETAG_STALE", metadata={"state": state, "etag": etag})
        status = status_pb2.Status(code=code_pb2.ABORTED, message="somebody was faster")
        status.details.add().Pack(info)
        context.set_trailing_metadata(((DETAILS_KEY, status.SerializeToString()),))
        await context.abort(grpc.StatusCode.ABORTED, status.message)
        raise AssertionError("abort raises")

    async def _read(self, name: str) -> tuple[str, str]:
        async with self._reading:
            found = await self._reader.execute("SELECT state, etag FROM floor_rollouts WHERE name = %s", (name,))
            state, etag = await found.fetchone() or ("", "")
        return state, etag


async def _connect(url: str) -> "psycopg.AsyncConnection[Any]":
    parts = make_url(url)
    known: dict[str, Any] = {"user": parts.username, "dbname": parts.database, "host": parts.host, "port": parts.port}
    given = {name: value for name, value in known.items() if value} | dict(parts.query)
    connection = await psycopg.AsyncConnection.connect(**given, autocommit=True)
    await connection.set_isolation_level(psycopg.IsolationLevel.SERIALIZABLE)
    return connection


async def _serve() -> None:
    url = os.environ["CROSSFADE_DATABASE"]
    writer, reader = await _connect(url), await _connect(url)
    for table in _TABLES:
        await writer.execute(table.encode())
    await writer.execute(
        "INSERT INTO floor_rollouts VALUES ('models/m0/rollouts/1', 'RUNNING', 'a') ON CONFLICT DO NOTHING"
    )
    server = aio.server(options=(("grpc.so_reuseport", 0),))
    servicer: Any = Floor(writer, reader)
    service_pb2_grpc.add_RegistryServiceServicer_to_server(servicer, server)
    server.add_insecure_port(os.environ["CROSSFADE_LISTEN"])
    await server.start()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(_serve())
