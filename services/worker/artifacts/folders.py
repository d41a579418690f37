"""Where the artifacts of what is held lie on this machine."""

import asyncio
import contextlib
import weakref
from collections.abc import Callable
from pathlib import Path

from services.common.threads import on_thread
from services.worker.artifacts.cache import ArtifactCache, Held
from services.worker.artifacts.signature import check_signature
from services.worker.domain import ArtifactRef, LoadError, ServingKey, WantedVersion


class Folders:
    """Fetches artifacts, each once, and knows them by version until they are forgotten.

    Args:
        cache: fetches and keeps them.
        limit_seconds: how long one fetch may take.
    """

    def __init__(self, cache: ArtifactCache, limit_seconds: float) -> None:
        self._cache = cache
        self._limit_seconds = limit_seconds
        self._found: dict[tuple[str, str], Held] = {}
        # Of each digest while somebody fetches it: a Worker sees artifacts without end.
        self._fetching = weakref.WeakValueDictionary[str, asyncio.Lock]()
        # The end of the read of each digest, as long as its thread lives.
        self._reading = weakref.WeakValueDictionary[str, asyncio.Event]()

    @property
    def versions(self) -> frozenset[tuple[str, str]]:
        """(model, version) of those that are here."""
        return frozenset(self._found)

    def of(self, model: str, version: str) -> Path | None:
        """The folder of a version's artifact; None: it is not here."""
        held = self._found.get((model, version))
        return None if held is None else held.folder

    def forget(self, model: str, version: str) -> None:
        """Leaves a version's artifact to the cache."""
        held = self._found.pop((model, version), None)
        if held is not None:
            held.close()

    async def fetch(self, key: ServingKey, wanted: WantedVersion) -> Path:
        """The folder of a version's artifact, which is fetched if it is not here.

        Raises:
            LoadError: it cannot be had, or is not what was published.
            OSError: it cannot be stored.
        """
        artifact: ArtifactRef = wanted.artifact
        hanging = ""
        try:
            # LIVE and CONTROL of one version fetch it once.
            async with (
                asyncio.timeout(self._limit_seconds),
                self._fetching.setdefault(artifact.digest, asyncio.Lock()),
            ):
                before = self._reading.get(artifact.digest)
                if before is not None:
                    # Otherwise a mount whose server is gone would take a thread more at each attempt.
                    hanging = ": an earlier read of it hangs still, so look whether the place where it lies answers"
                    await before.wait()
                held = await self._read(artifact)
        except TimeoutError as error:
            raise LoadError(
                f"{artifact.uri} was not fetched within {self._limit_seconds:g} s{hanging}", transient=True
            ) from error
        try:
            check_signature(wanted.signature, held.manifest)
        except LoadError:
            held.close()
            raise
        self.forget(key.model, key.version)
        self._found[key.model, key.version] = held
        return held.folder

    async def _read(self, artifact: ArtifactRef) -> Held:
        """Fetches it on a thread, to which a read that hangs is left."""
        loop = asyncio.get_running_loop()
        ended = self._reading[artifact.digest] = asyncio.Event()

        def read(is_over: Callable[[], bool]) -> Held:
            try:
                return self._cache.fetch(artifact, is_over)
            finally:
                # The loop may have been closed meanwhile.
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(ended.set)

        return await on_thread(read, "fetch")
