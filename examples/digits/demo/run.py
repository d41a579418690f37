"""Publishes the versions one after the other and watches what becomes of them; it decides nothing."""

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import grpc

from crossfade.artifact import Artifact
from crossfade.common.v1 import analysis_pb2
from crossfade.enum_names import enum_name
from crossfade.names import model_name
from crossfade.publishing import version_of
from crossfade.registry.v1 import resources_pb2, service_pb2, service_pb2_grpc
from examples.digits.demo.report import VersionReport
from examples.digits.demo.story import CHAPTERS, FIRST, Chapter
from examples.digits.demo.traffic import Traffic

MODEL: Final = "digits"
_POLL_SECONDS: Final = 0.25
_FIRST_SECONDS: Final = 60.0
_CHAPTER_SECONDS: Final = 240.0
_CALM_SECONDS: Final = 6.0
"""How long a version is under test before the camera is knocked."""
_DRIFT_SECONDS: Final = 6.0
"""How long the camera stays knocked after the rollout has paused."""
_DRIFT_LIMIT_SECONDS: Final = 40.0
_DRIFT_NOTE: Final = "inputs drifted in both arms"

_STATES: Final = resources_pb2.RolloutState
_ENDED: Final = frozenset(
    {
        _STATES.ROLLOUT_STATE_PROMOTED,
        _STATES.ROLLOUT_STATE_ROLLED_BACK,
        _STATES.ROLLOUT_STATE_INCONCLUSIVE,
        _STATES.ROLLOUT_STATE_CANCELLED,
    }
)


@dataclass(slots=True)
class View:
    """What the screen shows.

    Attributes:
        chapter: the version under test.
        model: the model, with its lane.
        rollout: the live rollout, or the last one.
        analysis: its latest look.
        drifting: the camera is knocked.
    """

    chapter: Chapter = FIRST
    model: resources_pb2.Model | None = None
    rollout: resources_pb2.Rollout | None = None
    analysis: analysis_pb2.Analysis | None = None
    drifting: bool = False


class Run:
    """The demo's run.

    Args:
        registry: channel to the Registry.
        artifacts: by version.
        spec: how rollouts are to be done.
        traffic: the backend's calls.
        show: gets the view after each change.
    """

    def __init__(
        self,
        registry: grpc.aio.Channel,
        artifacts: Mapping[str, Artifact],
        spec: service_pb2.RolloutSpec,
        traffic: Traffic,
        show: Callable[[View], None],
    ) -> None:
        # The stub's type depends on the channel's, which mypy-protobuf sees at its construction alone.
        self._registry: Any = service_pb2_grpc.RegistryServiceStub(registry)
        self._artifacts = artifacts
        self._spec = spec
        self._traffic = traffic
        self._show = show
        self.view = View()

    async def first(self) -> VersionReport:
        """Publishes v1 and waits until a Worker has it."""
        started = time.monotonic()
        await self._registry.CreateModel(
            service_pb2.CreateModelRequest(
                model_id=MODEL,
                model=resources_pb2.Model(description="handwritten digits, 8 × 8 pixels"),
                request_id=str(uuid.uuid4()),
            )
        )
        await self._publish(FIRST)
        async with asyncio.timeout(_FIRST_SECONDS):
            while not await self._first_is_ready():
                await asyncio.sleep(_POLL_SECONDS)
        seconds = round(time.monotonic() - started, 1)
        outcome = await self._version_state(FIRST.version)
        reason = "the lane's first version"
        return VersionReport(FIRST.version, FIRST.outcome, outcome, reason, seconds, 0, outcome == FIRST.outcome)

    async def _version_state(self, version: str) -> str:
        await self._refresh(None)
        lanes = self.view.model.lanes if self.view.model is not None else ()
        states = {one.version: one.state for lane in lanes for one in lane.versions}
        state = states.get(version, resources_pb2.VERSION_STATE_UNSPECIFIED)
        return enum_name(resources_pb2.VersionState.DESCRIPTOR, state)

    async def _first_is_ready(self) -> bool:
        name = f"{model_name(MODEL)}/versions/{FIRST.version}"
        version = await self._registry.GetVersion(service_pb2.GetVersionRequest(name=name))
        return any(one.serving.state == resources_pb2.SERVING_STATE_READY for one in version.readiness)

    async def chapters(self) -> list[VersionReport]:
        """Publishes the other versions, each after the outcome of the one before."""
        return [await self._chapter(chapter) for chapter in CHAPTERS]

    async def _chapter(self, chapter: Chapter) -> VersionReport:
        started = time.monotonic()
        before = self._traffic.tally.answered[chapter.version]
        self.view.chapter = chapter
        published = await self._publish(chapter)
        name = published.rollout.name
        nature = asyncio.create_task(self._knock(name)) if chapter.drift else None
        paused_for_drift = False
        try:
            async with asyncio.timeout(_CHAPTER_SECONDS):
                while (rollout := await self._refresh(name)).state not in _ENDED:
                    paused_for_drift |= rollout.pause_reason == resources_pb2.PAUSE_REASON_INPUT_DRIFT
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            rollout = await self._refresh(name)
        finally:
            if nature is not None:
                nature.cancel()
                self._set_drifting(False)
        return await self._conclude(chapter, rollout, paused_for_drift, started, before)

    async def _conclude(
        self, chapter: Chapter, rollout: resources_pb2.Rollout, paused: bool, started: float, before: int
    ) -> VersionReport:
        outcome = enum_name(_STATES.DESCRIPTOR, rollout.state)
        states = (await self._version_state(chapter.version), await self._version_state(rollout.stable_version))
        as_expected = (outcome, rollout.outcome.gate, paused, states) == (
            chapter.outcome,
            chapter.gate,
            chapter.drift,
            ("STABLE", "DEPRECATED") if chapter.outcome == "PROMOTED" else ("FAILED", "STABLE"),
        )
        reason = rollout.outcome.reason or rollout.note
        if paused:
            reason = f"{reason}; it had paused while {_DRIFT_NOTE}"
        return VersionReport(
            chapter.version,
            chapter.outcome,
            outcome,
            reason,
            round(time.monotonic() - started, 1),
            self._traffic.tally.answered[chapter.version] - before,
            as_expected,
        )

    async def _publish(self, chapter: Chapter) -> service_pb2.PublishVersionResponse:
        answer: service_pb2.PublishVersionResponse = await self._registry.PublishVersion(
            service_pb2.PublishVersionRequest(
                parent=model_name(MODEL),
                version_id=chapter.version,
                version=version_of(self._artifacts[chapter.version], description=chapter.about),
                rollout=self._spec,
                request_id=str(uuid.uuid4()),
            )
        )
        return answer

    async def _refresh(self, rollout_name: str | None) -> resources_pb2.Rollout:
        self.view.model = await self._registry.GetModel(service_pb2.GetModelRequest(name=model_name(MODEL)))
        if rollout_name is not None:
            self.view.rollout = await self._registry.GetRollout(service_pb2.GetRolloutRequest(name=rollout_name))
            looks = await self._registry.ListAnalyses(
                service_pb2.ListAnalysesRequest(parent=rollout_name, summaries_only=True, latest_only=True)
            )
            self.view.analysis = looks.analyses[-1] if looks.analyses else None
        self._show(self.view)
        return self.view.rollout or resources_pb2.Rollout()

    async def _knock(self, rollout_name: str) -> None:
        """The world changes: every caller's images shift for a while, whatever the services make of it."""
        while await self._state(rollout_name) != _STATES.ROLLOUT_STATE_RUNNING:
            await asyncio.sleep(_POLL_SECONDS)
        await asyncio.sleep(_CALM_SECONDS)
        self._set_drifting(True)
        begun = time.monotonic()
        while await self._state(rollout_name) != _STATES.ROLLOUT_STATE_PAUSED:
            if time.monotonic() - begun > _DRIFT_LIMIT_SECONDS:
                break
            await asyncio.sleep(_POLL_SECONDS)
        await asyncio.sleep(_DRIFT_SECONDS)
        self._set_drifting(False)

    async def _state(self, rollout_name: str) -> int:
        rollout = await self._registry.GetRollout(service_pb2.GetRolloutRequest(name=rollout_name))
        return int(rollout.state)

    def _set_drifting(self, drifting: bool) -> None:
        self._traffic.drifting = drifting
        self.view.drifting = drifting
