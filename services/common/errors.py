"""Domain errors: what a service refuses and why, without a word of gRPC.

Each class stands for one gRPC code (the table is in `services.common.statuses`); `reason` is what programs read,
the message what people read.
"""

from collections.abc import Mapping


class CrossfadeError(Exception):
    """Something was refused or failed in a way that the caller should know.

    Args:
        reason: UPPER_SNAKE, stable across releases: `ETAG_STALE`.
        message: one or two sentences: what happened and what to do next.
        metadata: facts that a program can use.
    """

    def __init__(self, reason: str, message: str, **metadata: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata: Mapping[str, str] = metadata


class InvalidArgumentError(CrossfadeError):
    """The request is wrong whatever the state of the system.

    Args:
        field: path of the field that is wrong, as in `rollout.plan.steps[1].share_bps`; empty: no single one.
    """

    def __init__(self, reason: str, message: str, *, field: str = "", **metadata: str) -> None:
        super().__init__(reason, message, **metadata)
        self.field = field


class NotFoundError(CrossfadeError):
    """What was named does not exist."""


class AlreadyExistsError(CrossfadeError):
    """What was to be created exists."""


class FailedPreconditionError(CrossfadeError):
    """The state of the system does not allow it; trying again alone does not help."""


class AbortedError(CrossfadeError):
    """Somebody else was faster; read again and decide again."""


class OutOfRangeError(CrossfadeError):
    """Past what is kept."""


class UnauthenticatedError(CrossfadeError):
    """Nobody knows who is calling."""


class PermissionDeniedError(CrossfadeError):
    """The caller has no role that may do this."""


class ResourceExhaustedError(CrossfadeError):
    """A queue or a quota is full; try again later.

    Args:
        retry_seconds: after about so long; 0: nobody knows.
    """

    def __init__(self, reason: str, message: str, *, retry_seconds: float = 0.0, **metadata: str) -> None:
        super().__init__(reason, message, **metadata)
        self.retry_seconds = retry_seconds


class DeadlineExceededError(CrossfadeError):
    """The caller's time is over."""


class UnavailableError(CrossfadeError):
    """Nothing can serve this now; try again."""


class InternalError(CrossfadeError):
    """A failure on our side that the caller may know about (a model that raised, say)."""
