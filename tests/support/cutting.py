"""A proxy before a database that cuts connections at COMMIT."""

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

    def __init__(self, database: str, folder: Path) -> None:
        url = make_url(database)
        self._address = (url.host or "", url.port or 26257)
        self._socket = Path(str(url.query["host"])) / f".s.PGSQL.{url.query['port']}" if "host" in url.query else None
        # Listens under the same name as the database's own socket.
        self._path = folder / f".s.PGSQL.{url.query.get('port', 5432)}"
        self.cut = ""
        self.marker = b""
        self.times = 1
        self.cuts = 0
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    def retarget(self, database: str) -> None:
        """Goes on before another server, as one that was started again."""
        url = make_url(database)
        self._socket = Path(str(url.query["host"])) / f".s.PGSQL.{url.query['port']}"

    def url(self, database: str) -> str:
        """The database's URL through this proxy."""
        folder, port = self._path.parent, self._path.name.rpartition(".")[2]
        url = make_url(database).set(host=None, port=None).update_query_dict({"host": str(folder), "port": port})
        return url.render_as_string(hide_password=False)

    def arm(self, cut: str, marker: str = "", times: int = 1) -> None:
        """Cuts from now on."""
        self.cut, self.marker, self.times, self.cuts = cut, marker.encode(), times, 0

    async def start(self) -> None:
        """Listens."""
        self._server = await asyncio.start_unix_server(self._accept, self._path)

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
        answering = asyncio.create_task(self._answer(far, back))
        try:
            marked = False
            while data := await near.read(65536):
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
        if self._socket is None:
            return await asyncio.open_connection(*self._address)
        return await asyncio.open_unix_connection(self._socket)

    @staticmethod
    async def _answer(far: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        try:
            while data := await far.read(65536):
                back.write(data)
                await back.drain()
        except ConnectionError:
            pass
        finally:
            back.close()
