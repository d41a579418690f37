"""What `replay` does, and how it says it."""

import math
from collections.abc import Sequence
from typing import Final

from crossfade import names
from crossfade.cli import text
from crossfade.cli.actions.policy_check import violation_lines
from crossfade.cli.context import Session
from crossfade.cli.errors import CommandError, UsageError
from crossfade.cli.options.policy import given_policy
from crossfade.cli.options.rollout import parse_objective
from crossfade.cli.registry_client import Registry, checked
from crossfade.cli.render.gates import fraction
from crossfade.cli.render.jsons import to_json
from crossfade.common.v1 import analysis_pb2
from crossfade.evaluator.v1 import evaluator_pb2, evaluator_pb2_grpc
from crossfade.policy_file import PolicyFile
from crossfade.registry.v1.resources_pb2 import Rollout

_TIMEOUT: Final = 600.0
"""Seconds: a rollout of weeks has tens of thousands of looks."""
_MISLED: Final = (
    "The judge is misled by this traffic, and would roll good versions back for it, or pass worse ones, since {} is "
    "the same in both arms: do requests of one user come together (--assignment key), are the rows of a request alike, "
    "do labels of one arm come sooner? Or do the processes of one arm fail (their host, their memory)?"
)
_WORDS: Final = {
    analysis_pb2.ACTION_PROMOTE: "PROMOTE",
    analysis_pb2.ACTION_ADVANCE: "next step",
    analysis_pb2.ACTION_PAUSE: "pause",
    analysis_pb2.ACTION_RESUME: "resume",
    analysis_pb2.ACTION_ROLLBACK: "ROLL BACK",
    analysis_pb2.ACTION_CANCEL: "end INCONCLUSIVE",
}


def replay_rollout(
    session: Session,
    model: str,
    segment: str,
    number: int | None,
    policy: str,
    objective: str,
    *,
    itself: bool = False,
) -> None:
    """Replays a rollout.

    Args:
        session: the command's run.
        model: the model's id.
        segment: the lane's, for the latest rollout.
        number: the rollout's; None: the latest of the lane.
        policy: a policy file's path; empty: the rollout's own.
        objective: as of `start`; empty: the rollout's own.
        itself: its stable version is judged against itself instead.

    Raises:
        UsageError: it cannot be judged by what was given.
        CommandError: it cannot be replayed.
    """
    registry = Registry(session.connect.registry())
    rollout = _find(registry, model, segment, number)
    request = evaluator_pb2.ReplayRequest(
        name=rollout.name, objective=parse_objective(objective), against_itself=itself
    )
    file: PolicyFile | None = None
    if policy:
        file = given_policy(policy)
        request.policy.CopyFrom(file.policy)
        if file.plan.steps:
            request.plan.CopyFrom(file.plan)
    evaluator = session.connect.evaluator()
    stub = evaluator_pb2_grpc.EvaluatorServiceStub(evaluator.channel)
    answer = evaluator.call(stub.Replay, request, timeout=_TIMEOUT)
    if answer.violations:
        if session.options.json:
            session.show(to_json(answer), str)
        failure = UsageError if policy or objective else CommandError
        raise failure("\n".join(_violations(file, answer.violations)))
    shown = itself_text if itself else replay_text
    session.show(to_json(answer), lambda: shown(rollout, answer, policy))


def replay_text(rollout: Rollout, answer: evaluator_pb2.ReplayResponse, policy: str) -> str:
    """What was decided, and what would have been."""
    by = f"by {policy}" if policy else "by its own policy"
    first = (
        f"Rollout {text.last_part(rollout.name)}: {rollout.version} against {rollout.stable_version}, "
        f"{text.plural(answer.looks, 'look')} replayed {by}."
    )
    lines = [first]
    for name, moments in (("recorded", answer.recorded), ("replayed", answer.replayed)):
        lines += [f"  {name}  {_moment(rollout, moment)}" for moment in moments] or [f"  {name}  nothing was decided"]
    if not answer.parts_at:
        lines.append("Every look concludes what was recorded.")
    else:
        lines.append(f"The first look that concludes otherwise is look {answer.parts_at}.")
    ending = (analysis_pb2.ACTION_PROMOTE, analysis_pb2.ACTION_ROLLBACK, analysis_pb2.ACTION_CANCEL)
    if not any(moment.action in ending for moment in answer.replayed) and answer.looks:
        lines.append(f"At its last look: {answer.last.reason.rstrip('.')}.")
    return "\n".join(lines)


def itself_text(rollout: Rollout, answer: evaluator_pb2.ReplayResponse, policy: str) -> str:
    """What the judge would have said of the stable version against itself."""
    stable = rollout.stable_version
    by = f"by {policy}" if policy else "by the policy of the rollout"
    arms = f"{stable}'s control arm against the rest of {stable}"
    looks = text.plural(answer.looks, "look")
    lines = [f"Rollout {text.last_part(rollout.name)}, A/A: {arms}, {looks} {by}."]
    for gate in answer.last.gates:
        if gate.test.n and gate.baseline.n:
            part = min(99, math.floor(100 * fraction(gate.harm)))
            found = "found" if gate.verdict == analysis_pb2.VERDICT_FAIL else f"{part} % of its bar"
            compared = f"{text.count(gate.test.n)} against {text.count(gate.baseline.n)}"
            lines.append(f"  {gate.gate}: harm {found} ({compared})")
    if answer.replayed:
        lines += [f"  {_moment(rollout, moment)}" for moment in answer.replayed]
        lines.append(_MISLED.format(stable))
    else:
        lines.append(f"{answer.last.reason[:1].upper()}{answer.last.reason[1:]}.")
    return "\n".join(lines)


def _moment(rollout: Rollout, moment: evaluator_pb2.ReplayedDecision) -> str:
    after = text.unix(moment.time) - text.unix(rollout.start_time)
    gate = f" for {moment.gate}" if moment.gate else ""
    return (
        f"look {moment.sequence}, {text.span(after)} after its start: "
        f"{_WORDS.get(moment.action, 'nothing')}{gate}. {moment.reason.rstrip('.')}."
    )


def _violations(file: PolicyFile | None, found: Sequence[evaluator_pb2.Violation]) -> list[str]:
    if file is None:
        return [f"{one.field}: {one.description}" for one in found]
    return violation_lines(file, found)


def _find(registry: Registry, model: str, segment: str, number: int | None) -> Rollout:
    if number is not None:
        return registry.rollout(names.rollout_name(checked(model, "model"), number))
    found = registry.latest_rollout(model, segment)
    if found is None:
        raise CommandError(f"{model} has had no rollout that could be replayed: crossfade status {model}")
    return registry.rollout(found.name)
