"""A TCP proxy before a database that cuts connections at COMMIT."""

import asyncio
import contextlib
from pathlib import Path

from sqlalchemy import make_url


class Proxy:
    """Stands between the Registry and its database and cuts connections at COMMIT.

    Attributes:
        cut: "before" the server gets the COMMIT, "after" it has carried it out, or "" for not at all.
        marker: only transactions that have sent this are cut.
        times: how many are cut.
        cuts: how many were.
    """

    def __init__(self, database: str) -> None:
        self._database = make_url(database)
        self._port = 0
        self.cut = ""
        self.marker = b""
        self.times = 1
        self.cuts = 0
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._silent = asyncio.Event()

    def retarget(self, database: str) -> None:
        """Goes on before another server, as one that was started again."""
        self._database = make_url(database)

    def url(self, database: str) -> str:
        """The database's URL through this proxy."""
        url = make_url(database).difference_update_query(("host", "port"))
        return url.set(host="127.0.0.1", port=self._port).render_as_string(hide_password=False)

    def arm(self, cut: str, marker: str = "", times: int = 1) -> None:
        """Cuts from now on."""
        self.cut, self.marker, self.times, self.cuts = cut, marker.encode(), times, 0

    def fall_silent(self) -> None:
        """Lets no byte more pass by the connections that there are, which stay open; later ones are as before."""
        self._silent.set()
        self._silent = asyncio.Event()

    async def start(self) -> None:
        """Listens."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Ends, with every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def _accept(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        self._serving.add(asyncio.create_task(self._serve(near, back)))

    async def _serve(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        try:
            far, forth = await self._reach()
        except OSError:
            # Nobody is there: the caller is told as it would be without us.
            back.close()
            return
        silent = self._silent
        answering = asyncio.create_task(self._answer(far, back, silent))
        try:
            marked = False
            while data := await near.read(65536):
                if silent.is_set():
                    continue
                marked = marked or self.marker in data
                if b"COMMIT" in data and self.cut and marked and self.cuts < self.times:
                    self.cuts += 1
                    if self.cut == "after":
                        answering.cancel()
                        forth.write(data)
                        # The answer says that it is done; the caller never sees it.
                        await far.read(65536)
                    break
                marked = marked and b"COMMIT" not in data
                forth.write(data)
                await forth.drain()
        except ConnectionError:
            pass
        finally:
            answering.cancel()
            with contextlib.suppress(ConnectionError):
                forth.close()
                back.close()

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        query = self._database.query
        if "host" not in query:
            return await asyncio.open_connection(self._database.host, self._database.port)
        return await asyncio.open_unix_connection(Path(str(query["host"])) / f".s.PGSQL.{query['port']}")

    @staticmethod
    async def _answer(far: asyncio.StreamReader, back: asyncio.StreamWriter, silent: asyncio.Event) -> None:
        try:
            while data := await far.read(65536):
                if silent.is_set():
                    continue
                back.write(data)
                await back.drain()
        except ConnectionError:
            pass
        finally:
            back.close()
