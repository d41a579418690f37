"""Names of a contract's enum values, of those as well that a newer release has added."""

import re
from typing import Final

from google.protobuf.descriptor import EnumDescriptor

_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def enum_name(kind: EnumDescriptor, number: int) -> str:
    """`ROLLED_BACK` of ROLLOUT_STATE_ROLLED_BACK; of a number that this release has no name for, the number.

    Args:
        kind: the enum; all its values begin with its own name.
        number: one of its values, as a message has it.
    """
    value = kind.values_by_number.get(number)
    if value is None:
        return str(number)
    return value.name.removeprefix(f"{_WORD.sub('_', kind.name).upper()}_")
