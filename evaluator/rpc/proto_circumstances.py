"""What a look knew besides the counts, as crossfade.common.v1.Circumstances, and back."""

from typing import Final

from crossfade.common.v1 import analysis_pb2
from evaluator.verdict.decision import Circumstances, Phase
from evaluator.verdict.readiness import Served, Serving, Worker
from services.common import times

_PHASES: Final = {
    Phase.WAITING: analysis_pb2.PHASE_WAITING,
    Phase.RUNNING: analysis_pb2.PHASE_RUNNING,
    Phase.PAUSED_BY_PERSON: analysis_pb2.PHASE_PAUSED_BY_PERSON,
    Phase.PAUSED_BY_DRIFT: analysis_pb2.PHASE_PAUSED_BY_DRIFT,
}
_KNOWN: Final = {value: phase for phase, value in _PHASES.items()}


def to_proto(at: Circumstances) -> analysis_pb2.Circumstances:
    """Circumstances as a message; what holds stands in the summary beside it."""
    return analysis_pb2.Circumstances(
        phase=_PHASES[at.phase],
        time=times.timestamp(round(at.now * 1e6)),
        elapsed_seconds=at.elapsed,
        approval_missing=at.approval_missing,
        rules=at.rules,
        workers=[
            analysis_pb2.WorkerView(instance_id=worker.instance_id, served=[_served(one) for one in worker.served])
            for worker in at.workers
        ],
    )


def from_proto(summary: analysis_pb2.Summary) -> Circumstances | None:
    """The circumstances of a recorded conclusion; None: they were not recorded."""
    message = summary.circumstances
    if message.phase not in _KNOWN:
        return None
    return Circumstances(
        phase=_KNOWN[message.phase],
        now=times.unix_seconds(message.time),
        elapsed=message.elapsed_seconds,
        workers=tuple(Worker(one.instance_id, tuple(map(_found, one.served))) for one in message.workers),
        holds=tuple(summary.holds),
        approval_missing=message.approval_missing,
        rules=message.rules,
    )


def _served(one: Served) -> analysis_pb2.ServedVersion:
    return analysis_pb2.ServedVersion(
        version=one.version,
        control=one.control,
        ready=one.state is Serving.READY,
        failed=one.state is Serving.FAILED,
        error=one.error,
        error_code=one.error_code,
    )


def _found(one: analysis_pb2.ServedVersion) -> Served:
    """What loads and what drains are one here: neither is ready, and neither has failed."""
    state = Serving.READY if one.ready else Serving.FAILED if one.failed else Serving.LOADING
    return Served(one.version, one.control, state, one.error, one.error_code)
