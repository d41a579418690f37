"""The first fields of a Predict request's bytes, without parsing the rest.

Source: Protocol Buffers, "Encoding"; model_name is field 1 and model_version field 2, and writers put them first.
"""

from typing import Final

from services.common.varint import read_varint

_MODEL_NAME: Final = 0x0A
_MODEL_VERSION: Final = 0x12
_FIRST_BYTES: Final = frozenset(range(_MODEL_NAME, 0x3B, 0x08))
"""Tags of the message's fields 1 to 7, all of them length-delimited."""
_MOST_FIELDS: Final = 16
"""Writers write each name once. A request could hold millions of empty ones, and nothing else is done meanwhile."""


class MalformedError(ValueError):
    """The bytes are no protobuf message of this kind."""


class LongNameError(ValueError):
    """A name is longer than any id may be.

    Attributes:
        field: which one.
    """

    def __init__(self, field: str, length: int, longest: int) -> None:
        super().__init__(f"{field} has {length:,} bytes, and an id has at most {longest}: send the id alone")
        self.field = field


def first_fields(body: bytes, longest: int) -> tuple[str, str]:
    """`model_name` and `model_version`; empty where the message does not begin with them.

    Args:
        body: the request's bytes.
        longest: bytes that a name may have.

    Raises:
        MalformedError: the bytes cannot be the beginning of a Predict request.
        LongNameError: a name cannot be an id.
    """
    model = version = ""
    position = fields = 0
    if body and body[0] not in _FIRST_BYTES:
        raise MalformedError("the request is no PredictRequest: it does not begin with one of its fields")
    while position < len(body) and body[position] in (_MODEL_NAME, _MODEL_VERSION):
        tag = body[position]
        fields += 1
        if fields > _MOST_FIELDS:
            raise MalformedError(
                f"the request is no PredictRequest: it gives its names more than {_MOST_FIELDS} times; give each once"
            )
        try:
            length, start = read_varint(body, position + 1)
        except ValueError as error:
            raise MalformedError("the request is no PredictRequest: it ends inside a field's length") from error
        position = start + length
        if position > len(body):
            raise MalformedError("the request is no PredictRequest: it ends inside a field")
        if length > longest:
            raise LongNameError("model_name" if tag == _MODEL_NAME else "model_version", length, longest)
        try:
            text = body[start:position].decode()
        except UnicodeDecodeError as error:
            raise MalformedError("the request is no PredictRequest: a name is not UTF-8") from error
        if tag == _MODEL_NAME:
            model = text
        else:
            version = text
    return model, version
