"""What clients ask for of rollouts."""

from typing import Any, Final

from google.protobuf.duration_pb2 import Duration

from crossfade.common.v1 import analysis_pb2, policy_pb2
from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.checker.caller import Caller
from tests.checker.journal import seconds_of

_RUNNING: Final = resources_pb2.ROLLOUT_STATE_RUNNING
_PAUSED: Final = resources_pb2.ROLLOUT_STATE_PAUSED
_FITTING: Final = {
    _RUNNING: (*("AdvanceRollout", "PauseRollout") * 4, *("PromoteRollout",) * 2, "RollbackRollout", "CancelRollout"),
    _PAUSED: (*("ResumeRollout",) * 7, "PromoteRollout", "RollbackRollout", "CancelRollout"),
}
"""What may be done in a state, as often as it is to be tried. A rollout that waits for Workers is mostly let be."""
_MOVES: Final = (
    "AdvanceRollout",
    "PauseRollout",
    "ResumeRollout",
    "ApproveRollout",
    "PromoteRollout",
    "RollbackRollout",
    "CancelRollout",
)


class RolloutClient(Caller):
    """Starts and moves rollouts."""

    def plan(self, marker: str) -> service_pb2.RolloutSpec:
        """Two steps, the first of which says the marker; now and then a person must agree."""
        steps = [policy_pb2.Step(share_bps=share, period=Duration(seconds=seconds_of(marker))) for share in (500, 5000)]
        return service_pb2.RolloutSpec(plan=policy_pb2.TrafficPlan(steps=steps), approval_required=self._one_in(4))

    async def start(self, model: str, lane: resources_pb2.Lane) -> None:
        """A rollout; its events have reasons of their own, so that its plan says the marker."""
        marker = self.marker()
        request = service_pb2.StartRolloutRequest(
            version=f"models/{model}/versions/{self._of(lane, 'PENDING')}",
            segment=lane.segment,
            rollout=self.plan(marker),
            etag=self._etag(lane.etag),
        )
        await self.operate("StartRollout", model, marker, request)

    async def move(self, model: str, lane: resources_pb2.Lane) -> None:
        """A transition of a rollout, mostly one that its state allows."""
        rollout = await self._rollout(model, lane)
        kinds: tuple[str, ...] = _MOVES
        if not self._one_in(4):
            if rollout.state not in _FITTING and not self._one_in(4):
                return
            kinds = _FITTING.get(rollout.state, _MOVES)
            if rollout.HasField("approval") and not rollout.approval.actor:
                kinds = ("ApproveRollout",)
        marker, kind = self.marker(), self._rng.choice(kinds)
        request = self._transition(kind, marker, rollout)
        # As an Evaluator does, by the latest look.
        if kind != "ApproveRollout" and self._one_in(5):
            request.analysis_sequence = rollout.analysis_sequence
            if kind == "PauseRollout":
                request.pause_reason = resources_pb2.PAUSE_REASON_INPUT_DRIFT
        await self.operate(kind, model, marker, request)

    def _transition(self, kind: str, marker: str, rollout: resources_pb2.Rollout) -> Any:
        common: dict[str, Any] = {"name": rollout.name, "etag": self._etag(rollout.etag)}
        outcome = resources_pb2.Outcome(reason=marker)
        force = not self._one_in(3)
        match kind:
            case "PauseRollout":
                why = self._rng.choice((resources_pb2.PAUSE_REASON_PERSON, resources_pb2.PAUSE_REASON_INPUT_DRIFT))
                return service_pb2.PauseRolloutRequest(**common, reason=marker, pause_reason=why)
            case "ResumeRollout":
                return service_pb2.ResumeRolloutRequest(**common, reason=marker)
            case "ApproveRollout":
                return service_pb2.ApproveRolloutRequest(**common, reason=marker)
            case "AdvanceRollout":
                return service_pb2.AdvanceRolloutRequest(**common, reason=marker, force=force)
            case "PromoteRollout":
                return service_pb2.PromoteRolloutRequest(**common, outcome=outcome, force=force)
            case "RollbackRollout":
                return service_pb2.RollbackRolloutRequest(**common, outcome=outcome)
        return service_pb2.CancelRolloutRequest(**common, outcome=outcome, inconclusive=self._one_in(2))

    async def look(self, model: str, lane: resources_pb2.Lane) -> None:
        """A look at a rollout, mostly the one that follows the latest."""
        rollout = await self._rollout(model, lane)
        marker = self.marker()
        sequence = rollout.analysis_sequence + (self._rng.choice((0, 2)) if self._one_in(10) else 1)
        analysis = analysis_pb2.Analysis(rollout=rollout.name, sequence=max(1, sequence), policy_hash=marker)
        request = service_pb2.RecordAnalysisRequest(analysis=analysis)
        await self.operate("RecordAnalysis", model, marker, request)
