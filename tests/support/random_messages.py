"""Messages that somebody got wrong: valid ones of which a few fields are changed, seeded."""

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

TEXTS: Final = (
    *("", "*", "-", "0", "-1", "nan", "1e309", "%s%n", "\0", "\u202e", "é" * 10, "x" * 300, "a" * 5_000),
    *("models/-", "models/nothing", "models/sign/versions/v99", "models/sign/rollouts/99999999999999999999"),
    *("../../etc/passwd", "'; DROP TABLE models; --", "file:///tmp/x", "s3://a/b", "sha256:" + "a" * 64),
    *("v1", "v2", "sign", "eu", "yes", "errors", "INT64", "BYTES", "2026-01-01T00:00:00Z"),
)
NUMBERS: Final = (0, 1, -1, 2, 99, 500, 10_001, 2**31 - 1, -(2**31), 2**32 - 1, 2**53 + 1, 2**63 - 1, -(2**63))
FLOATS: Final = (0.0, 1.0, -1.0, 0.5, 1e-300, 1e300, float("nan"), float("inf"), float("-inf"))
SECONDS: Final = (0, 1, -1, 60, -(2**62), 2**62, 253402300799, 253402300800, 315576000001)
_DEEPEST: Final = 5
_MANY: Final = 2_000

_Kind = FieldDescriptor
_RANGES: Final[Mapping[int, tuple[int, int]]] = {
    _Kind.TYPE_INT32: (-(2**31), 2**31 - 1),
    _Kind.TYPE_SINT32: (-(2**31), 2**31 - 1),
    _Kind.TYPE_UINT32: (0, 2**32 - 1),
    _Kind.TYPE_FIXED32: (0, 2**32 - 1),
    _Kind.TYPE_UINT64: (0, 2**64 - 1),
    _Kind.TYPE_FIXED64: (0, 2**64 - 1),
}


class Mistakes:
    """Makes mistakes.

    Args:
        seed: of all of them.
    """

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)

    def made_in(self, message: Message) -> Message:
        """A copy of a message with up to three mistakes, in any part of it."""
        changed = type(message)()
        changed.CopyFrom(message)
        for _ in range(self.draw.choice((0, 1, 1, 1, 2, 3))):
            self._change(self.draw.choice(_parts(changed)))
        return changed

    def spoilt(self, body: bytes) -> bytes:
        """Bytes of which now and then some are missing, or too many."""
        chance = self.draw.random()
        if chance < 0.02:
            return body[: self.draw.randrange(len(body) + 1)]
        return body + self.draw.randbytes(5) if chance < 0.04 else body

    def _change(self, message: Message) -> None:
        if not message.DESCRIPTOR.fields:
            return
        field: Any = self.draw.choice(message.DESCRIPTOR.fields)
        if self.draw.random() < 0.2:
            message.ClearField(field.name)
        elif _is_map(field):
            self._put(message, field)
        elif field.is_repeated:
            self._change_many(getattr(message, field.name), field)
        elif field.message_type is not None:
            part = getattr(message, field.name)
            part.SetInParent()
            self._fill(part, 1)
        else:
            setattr(message, field.name, self._value(field))

    def _change_many(self, values: Any, field: Any) -> None:
        chance = self.draw.random()
        if len(values) and chance < 0.3:
            del values[0]
        elif len(values) and chance < 0.4:
            first = list(values)[:1]
            values.extend(first * _MANY)
        elif field.message_type is not None:
            self._fill(values.add(), 1)
        else:
            values.append(self._value(field))

    def _fill(self, message: Message, depth: int) -> None:
        name = message.DESCRIPTOR.full_name
        if name in ("google.protobuf.Timestamp", "google.protobuf.Duration"):
            timed: Any = message
            timed.seconds, timed.nanos = self.draw.choice(SECONDS), self.draw.choice((0, 1, -1, 999_999_999, 2**30))
            return
        for field in message.DESCRIPTOR.fields:
            if self.draw.random() > 0.5 or depth > _DEEPEST:
                continue
            if _is_map(field):
                self._put(message, field)
            elif field.is_repeated:
                values = getattr(message, field.name)
                if field.message_type is not None:
                    self._fill(values.add(), depth + 1)
                else:
                    values.append(self._value(field))
            elif field.message_type is not None:
                part = getattr(message, field.name)
                part.SetInParent()
                self._fill(part, depth + 1)
            else:
                setattr(message, field.name, self._value(field))

    def _put(self, message: Message, field: Any) -> None:
        key, value = field.message_type.fields
        entries = getattr(message, field.name)
        if value.message_type is not None:
            self._fill(entries[self._value(key)], 1)
        else:
            entries[self._value(key)] = self._value(value)

    def _value(self, field: Any) -> Any:
        draw = self.draw
        match field.type:
            case _Kind.TYPE_STRING:
                return draw.choice(TEXTS)
            case _Kind.TYPE_BYTES:
                return draw.choice((b"", b"\0", b"\xff" * 8, draw.randbytes(40), b"a" * 100_000))
            case _Kind.TYPE_BOOL:
                return draw.random() < 0.5
            case _Kind.TYPE_DOUBLE | _Kind.TYPE_FLOAT:
                return draw.choice(FLOATS)
            case _Kind.TYPE_ENUM:
                return draw.choice([value.number for value in field.enum_type.values] + [99, -1])
        low, high = _RANGES.get(field.type, (-(2**63), 2**63 - 1))
        return min(max(draw.choice(NUMBERS), low), high)


def _is_map(field: Any) -> bool:
    return bool(field.message_type is not None and field.message_type.GetOptions().map_entry)


def _parts(message: Message) -> Sequence[Message]:
    """The message and all messages in it; of many alike a few."""
    found = [message]
    field: Any
    for field, value in message.ListFields():
        if field.message_type is None or _is_map(field):
            continue
        for part in list(value)[:6] if field.is_repeated else [value]:
            found += _parts(part)
    return found
