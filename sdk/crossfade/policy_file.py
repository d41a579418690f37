"""Policy files: YAML with a `plan` and the fields of a policy, read against the contract.

    plan:
      - share: 5%            # or share_bps: 500
        period: 1h
    look_interval: 30s
    gates:
      - metric: errors
        required: true
        harm: {factor: 1.1, offset: 0.05%}

Keys are the fields of crossfade.common.v1.Policy and Step. Every problem is told with its line and field, all at once.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from crossfade.common.v1.policy_pb2 import Policy, Step, TrafficPlan
from crossfade.quantities import parse_basis_points, parse_duration, parse_rate, parse_share, to_duration

MAX_BYTES: Final = 1024 * 1024

_TRUTHS: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}

_ZERO_IS_UNSAID: Final = frozenset(
    ["alpha_rollback", "alpha_promote", "power", "min_coverage", "max_coverage_gap", "drift_margin", "fresh_instances"]
)
"""Numbers that have another default than 0, which the messages cannot tell from it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        line: from 1; 0: it is about the file, whatever its lines say.
        field: as `gates[1].metric`; empty: none alone.
        message: what is wrong, and what is allowed.
    """

    line: int
    field: str
    message: str


class PolicyFileError(ValueError):
    """A policy file cannot be used; the message has one line per problem: `policy.yaml:7: gates[1].metric: …`.

    Attributes:
        problems: in the order of their lines.
    """

    def __init__(self, source: str, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(describe(source, problem) for problem in problems))
        self.problems = problems


class PolicyUnreadError(PolicyFileError):
    """A policy file cannot be read, whatever is in it."""


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """What a policy file says.

    Attributes:
        source: the file's name.
        policy: the policy; defaults are left to the services.
        plan: the traffic plan; no steps: the file has none.
        lines: the line of every field that the file sets, by its path.
    """

    source: str
    policy: Policy
    plan: TrafficPlan
    lines: Mapping[str, int]

    def line_of(self, field: str) -> int:
        """The line of a field or, when the file does not set it, of what it lies in; 1 when nothing is near."""
        while field:
            if field in self.lines:
                return self.lines[field]
            field = re.sub(r"(?:\.|\A)[^.\[\]]+\Z|\[\d+\]\Z", "", field)
        return 1


def describe(source: str, problem: Problem) -> str:
    """`policy.yaml:7: gates[1].metric: …`, or `policy.yaml cannot be read: …`."""
    if not problem.line:
        return f"{source} {problem.message}"
    return f"{source}:{problem.line}: " + (f"{problem.field}: " if problem.field else "") + problem.message


def load_policy(path: str | Path) -> PolicyFile:
    """Reads a policy file.

    Raises:
        PolicyUnreadError: it cannot be read.
        PolicyFileError: it cannot be used.
    """
    file = Path(path)
    try:
        with file.open("rb") as opened:
            raw = opened.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise PolicyFileError(str(path), (Problem(0, "", f"has more than {MAX_BYTES:,} bytes"),))
        text = raw.decode()
    except OSError as error:
        raise PolicyUnreadError(str(path), (Problem(0, "", f"cannot be read: {error.strerror}"),)) from error
    except UnicodeDecodeError as error:
        raise PolicyFileError(str(path), (Problem(0, "", f"is no text: not UTF-8 at byte {error.start}"),)) from error
    return parse_policy(text, str(path))


def parse_policy(text: str, source: str = "policy.yaml") -> PolicyFile:
    """Reads a policy file's text.

    Args:
        text: YAML.
        source: the file's name, for messages.

    Raises:
        PolicyFileError: it cannot be used.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise PolicyFileError(source, (Problem(line, "", f"no YAML: {error.problem or error}"),)) from error
    except yaml.YAMLError as error:
        raise PolicyFileError(source, (Problem(1, "", f"no YAML: {error}"),)) from error
    except RecursionError as error:
        raise PolicyFileError(source, (Problem(1, "", "no policy: lists within lists without end"),)) from error
    reader = _Reader()
    policy, plan = Policy(), TrafficPlan()
    if root is not None:
        reader.read_file(root, policy, plan)
    if reader.problems:
        raise PolicyFileError(source, tuple(sorted(reader.problems, key=lambda problem: problem.line)))
    return PolicyFile(source, policy, plan, reader.lines)


class _Reader:
    """Reads YAML nodes into messages; the messages' descriptors are the schema."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.lines: dict[str, int] = {}

    def read_file(self, root: yaml.Node, policy: Policy, plan: TrafficPlan) -> None:
        fields = Policy.DESCRIPTOR.fields_by_name
        for name, value in self._pairs(root, "", ("plan", *fields)):
            if name == "plan":
                self._list(value, "plan", plan.steps)
            else:
                self._field(value, name, fields[name], policy)

    def _pairs(self, node: yaml.Node, path: str, known: tuple[str, ...]) -> Iterator[tuple[str, yaml.Node]]:
        if not isinstance(node, yaml.MappingNode):
            self._refuse(node, path, f"must be a mapping with some of: {', '.join(known)}")
            return
        seen: set[str] = set()
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            field = f"{path}.{name}" if path else name
            if name not in known:
                close = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
                self._refuse(key, field, f"unknown field; {hint}")
            elif name in seen:
                self._refuse(key, field, "occurs twice")
            else:
                seen.add(name)
                self.lines[field] = key.start_mark.line + 1
                yield name, value

    def _message(self, node: yaml.Node, path: str, message: Message) -> None:
        fields = message.DESCRIPTOR.fields_by_name
        if isinstance(message, Step):
            self._step(node, path, message)
            return
        for name, value in self._pairs(node, path, tuple(fields)):
            self._field(value, f"{path}.{name}", fields[name], message)

    def _step(self, node: yaml.Node, path: str, step: Step) -> None:
        fields = Step.DESCRIPTOR.fields_by_name
        shares = 0
        for name, value in self._pairs(node, path, ("share", *fields)):
            if name not in {"share", "share_bps"}:
                self._field(value, f"{path}.{name}", fields[name], step)
                continue
            shares += 1
            if shares > 1:
                self._refuse(value, f"{path}.{name}", "share and share_bps are one field: write one of them")
            self._share(value, f"{path}.{name}", step, in_points=name == "share_bps")
        if not shares and isinstance(node, yaml.MappingNode):
            self._refuse(node, path, "the step has no share: write share: 5%")

    def _field(self, node: yaml.Node, path: str, field: Any, message: Message) -> None:
        other = message.WhichOneof(field.containing_oneof.name) if field.containing_oneof else None
        if other:
            self._refuse(node, path, f"{other} is given already: write one of them")
        elif field.is_repeated:
            self._list(node, path, getattr(message, field.name))
        elif field.message_type is None:
            self._value(node, path, field, message)
        elif field.message_type.full_name == Duration.DESCRIPTOR.full_name:
            text = self._text(node, path)
            if text is not None:
                with self._refusing(node, path):
                    getattr(message, field.name).CopyFrom(to_duration(parse_duration(text)))
        else:
            part: Message = getattr(message, field.name)
            part.SetInParent()
            self._message(node, path, part)

    def _list(self, node: yaml.Node, path: str, target: Any) -> None:
        if not isinstance(node, yaml.SequenceNode):
            self._refuse(node, path, "must be a list, each entry on a line that begins with '-'")
            return
        for number, item in enumerate(node.value):
            self.lines[f"{path}[{number}]"] = item.start_mark.line + 1
            self._message(item, f"{path}[{number}]", target.add())

    def _share(self, node: yaml.Node, path: str, step: Step, *, in_points: bool) -> None:
        text = self._text(node, path)
        if text is None:
            return
        with self._refusing(node, path):
            per_cent = text.strip().endswith("%")
            if not per_cent and not in_points:
                raise ValueError(f"{text!r} has no %: write share: 5%, or share_bps: 500 in basis points")
            step.share_bps = parse_share(text) if per_cent else parse_basis_points(text)

    def _value(self, node: yaml.Node, path: str, field: Any, message: Message) -> None:
        text = self._text(node, path)
        if text is not None:
            with self._refusing(node, path):
                setattr(message, field.name, _parse_value(text, field))

    def _text(self, node: yaml.Node, path: str) -> str | None:
        if not isinstance(node, yaml.ScalarNode):
            self._refuse(node, path, "must be one value, not a list or a mapping")
        elif node.tag == "tag:yaml.org,2002:null":
            self._refuse(node, path, "has no value: write one, or leave the field out")
        else:
            return str(node.value)
        return None

    @contextmanager
    def _refusing(self, node: yaml.Node, path: str) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            self._refuse(node, path, str(error))

    def _refuse(self, node: yaml.Node, path: str, message: str) -> None:
        self.problems.append(Problem(node.start_mark.line + 1, path, message))


def _parse_value(text: str, field: Any) -> object:
    """A field's value in a text: an enum's word, a truth, a whole number, a number or a text itself."""
    if field.enum_type is not None:
        return _parse_word(text, field)
    if field.type == FieldDescriptor.TYPE_BOOL:
        if text.lower() not in _TRUTHS:
            raise ValueError(f"{text!r} is neither true nor false")
        return _TRUTHS[text.lower()]
    if field.type == FieldDescriptor.TYPE_INT32:
        if not re.fullmatch(r"[+-]?\d{1,9}", text):
            raise ValueError(f"{text!r} is no whole number")
        return int(text)
    if field.type != FieldDescriptor.TYPE_DOUBLE:
        return text
    rate = parse_rate(text)
    # What is written of a message that holds -0, which is another number there, is read again.
    if str(rate) == "0.0" and field.name in _ZERO_IS_UNSAID:
        raise ValueError(f"{text!r} would be taken for the default: leave the field out for that, or write more than 0")
    return rate


def _parse_word(text: str, field: Any) -> int:
    """`errors`, `ERRORS` and `METRIC_ERRORS` are the same word; the unspecified one is none."""
    values = field.enum_type.values
    prefix = values[0].name.removesuffix("UNSPECIFIED")
    words = {value.name.removeprefix(prefix).lower(): value.number for value in values if value.number}
    word = text.strip().upper().removeprefix(prefix).lower().replace("-", "_")
    if word not in words:
        raise ValueError(f"{text!r} is none of {', '.join(words)}")
    return int(words[word])
