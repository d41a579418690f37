"""What `policy check` does."""

import re
from collections.abc import Iterable
from pathlib import Path

from crossfade.cli.context import Session
from crossfade.cli.errors import CommandError, UsageError
from crossfade.cli.options.policy import given_policy
from crossfade.cli.options.rollout import parse_assignment, parse_objective
from crossfade.cli.render.jsons import to_json
from crossfade.evaluator.v1 import evaluator_pb2, evaluator_pb2_grpc
from crossfade.policy_file import PolicyFile, Problem, describe
from crossfade.policy_words import write_policy

_TASKS = ("classification", "regression", "other")


def check_policy(session: Session, path: Path, task: str, objective: str, assignment: str) -> None:
    """Has the Evaluator check a policy file.

    Raises:
        CommandError: it cannot be used; one line per violation.
        UsageError: it cannot be read.
    """
    if task not in _TASKS:
        raise UsageError(f"--task {task!r} is none of {', '.join(_TASKS)}")
    file = given_policy(path)
    evaluator = session.connect.evaluator()
    stub = evaluator_pb2_grpc.EvaluatorServiceStub(evaluator.channel)
    request = evaluator_pb2.CheckPolicyRequest(
        policy=file.policy,
        plan=file.plan,
        task=task,
        objective=parse_objective(objective),
        assignment=parse_assignment(assignment),
    )
    answer = evaluator.call(stub.CheckPolicy, request)
    if answer.violations:
        if session.options.json:
            session.show(to_json(answer), str)
        raise CommandError("\n".join([*violation_lines(file, answer.violations), f"(checked for --task {task})"]))
    says = bool(file.policy.ByteSize() or file.plan.ByteSize())
    can = "can be used; with every default:" if says else "says nothing, and so is the default policy:"
    session.show(to_json(answer), lambda: f"{path} {can}\n\n{write_policy(answer.policy, answer.plan).rstrip()}")


def violation_lines(file: PolicyFile, violations: Iterable[evaluator_pb2.Violation]) -> list[str]:
    """Violations with the lines of the file that they speak of."""
    lines = []
    for violation in violations:
        field = file_field(violation.field)
        lines.append(describe(file.source, Problem(file.line_of(field), field, violation.description)))
    return lines


def file_field(field: str) -> str:
    """A contract's field as the file writes it: `policy.gates[1].harm` as `gates[1].harm`."""
    return re.sub(r"^plan\.steps\b", "plan", field.removeprefix("policy."))
