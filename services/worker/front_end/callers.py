"""What a caller says of a request besides its body, as far as it may.

A Worker is called by Routers, and directly by callers who split by themselves (xDS). A Router says of what kind of
traffic a request is, and has asked for the role tester where it is pinned. A direct call is of the kind that its
address is for, unless it names a version: its caller has chosen that, which takes the same role, and it is judged for
nobody.
"""

from collections.abc import Iterable
from typing import Final

from crossfade import metadata as keys
from services.common.identity import Principal, Role, require_role
from services.worker.domain import Traffic

_INTERNAL_KEYS: Final = frozenset({keys.TRAFFIC, keys.EPOCH, keys.COHORT, keys.CALLER})
_KEYS: Final = _INTERNAL_KEYS | {keys.SEGMENT, keys.VERSION, "traceparent", "tracestate"}


def told(metadata: Iterable[tuple[str, str | bytes]], version: str, principal: Principal) -> dict[str, str]:
    """The metadata that means something here.

    Args:
        metadata: the call's.
        version: that its body names; empty: none.
        principal: the caller.

    Raises:
        PermissionDeniedError: ROLE_MISSING: a direct call names a version, and its caller is no tester.
    """
    found = {key: str(value) for key, value in metadata if key in _KEYS}
    router = Role.ROUTER in principal.roles
    if found and not router:
        found = {key: value for key, value in found.items() if key not in _INTERNAL_KEYS}
    if (version or keys.VERSION in found) and keys.TRAFFIC not in found:
        require_role(principal, Role.TESTER, "pin a version")
        found[keys.TRAFFIC] = Traffic.PINNED.value
    return found
