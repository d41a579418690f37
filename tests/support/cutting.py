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

    def __init__(self, target: Path, folder: Path) -> None:
        self._target = target
        self._path = folder / target.name
        self.cut = ""
        self.marker = b""
        self.times = 1
        self.cuts = 0
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    def url(self, database: str) -> str:
        """The database's URL through this proxy."""
        return make_url(database).update_query_dict({"host": str(self._path.parent)}).render_as_string(False)

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
        far, forth = await asyncio.open_unix_connection(self._target)
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
