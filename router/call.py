"""What the proxy works with: a call, a reply, and the port through which attempts leave. Plain Python, no gRPC."""

from collections.abc import Callable, Collection
from typing import Final, NamedTuple, Protocol

OK: Final = "OK"
DEADLINE_EXCEEDED: Final = "DEADLINE_EXCEEDED"
UNAVAILABLE: Final = "UNAVAILABLE"
CANCELLED: Final = "CANCELLED"
FAILED_PRECONDITION: Final = "FAILED_PRECONDITION"
RESOURCE_EXHAUSTED: Final = "RESOURCE_EXHAUSTED"
INVALID_ARGUMENT: Final = "INVALID_ARGUMENT"
INTERNAL: Final = "INTERNAL"
INPUT_REFUSED: Final = "INPUT_REFUSED"
"""Outcome of an attempt whose version calls a request wrong that stable accepts: INVALID_ARGUMENT, charged."""
FAILOVER: Final = "failover"
"""Traffic of stable's answers for the test version."""

PINNED: Final = "pinned"
"""Traffic of calls that ask for a version themselves."""

PREDICT: Final = "/crossfade.predict.v1.PredictionService/Predict"
PREDICT_STREAM: Final = "/crossfade.predict.v1.PredictionService/PredictStream"

Metadata = tuple[tuple[str, str], ...]


class Call(NamedTuple):
    """A Predict call.

    Attributes:
        body: the request's bytes, never parsed beyond its first fields.
        deadline: monotonic seconds at which the caller gives up.
        trace: the caller's trace context, as metadata.
        cohort: of its key's bucket, in a lane that assigns by key; -1: in another.
        caller: the caller's segment, if a gate watches it by itself.
        streamed: it is answered in parts.
        sooner: seconds before it that the caller may have gone at its own deadline: it may have arrived as a later one.
    """

    body: bytes
    deadline: float
    trace: Metadata = ()
    cohort: int = -1
    caller: str = ""
    streamed: bool = False
    sooner: float = 0.0


class Parts(Protocol):
    """What follows the first part of a stream."""

    async def read(self) -> "bytes | Reply":
        """The next part, or how the stream ended: OK when it is whole."""

    def cancel(self) -> None:
        """Leaves it."""


class Reply(NamedTuple):
    """How an attempt ended, or how a stream has begun.

    Attributes:
        code: the gRPC code's name.
        body: the answer's bytes.
        message: what a failure says.
        details: the google.rpc.Status of a failure, serialized; empty: none.
        begun: the Worker's handler had accepted the request.
        dismissed: a while before it ended, the Registry ceased to name the Worker's process: that was told to end.
        rest: what follows `body`, of a stream that has begun.
        seconds: how long it took, of a request that the version calls wrong.
        reason: the Worker's, of a failure with code INTERNAL (`MODEL_RAISED`, `OUTPUT_NOT_FINITE`); empty: none.
        unsent: its time was over before there was a connection, so that the process has heard nothing of it.
    """

    code: str
    body: bytes = b""
    message: str = ""
    details: bytes = b""
    begun: bool = False
    dismissed: bool = False
    rest: Parts | None = None
    seconds: float = 0.0
    reason: str = ""
    unsent: bool = False

    @property
    def ok(self) -> bool:
        """True for an answer."""
        return self.code == OK

    @property
    def charged(self) -> bool:
        """Whether the outcome speaks for or against the version.

        A refusal by a process that never began (drained, not live, gone) is charged to nobody, and what is wrong with
        the request is its sender's, unless stable accepts it (`INPUT_REFUSED`); so is nothing that a process broke off
        because it was told to end, or has heard nothing of for want of a connection. A timeout at the caller's deadline
        and a full queue are charged.
        """
        if self.code == INVALID_ARGUMENT or self.drained or self.unsent:
            return False
        return self.begun or self.code in (OK, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED)

    @property
    def refused(self) -> bool:
        """Whether the process never began, so that another one may be asked: gone, draining, or not live there."""
        return not self.begun and self.code in (UNAVAILABLE, CANCELLED, FAILED_PRECONDITION)

    @property
    def drained(self) -> bool:
        """Whether the process broke a request off because it was told to end.

        Only then it says UNAVAILABLE itself. To a caller that does not read it cannot: its words would come after the
        parts that wait, and when its time is over grpc drops them with the parts.
        """
        said = self.code == UNAVAILABLE and bool(self.details)
        cut = self.dismissed and not self.details and self.code in (UNAVAILABLE, CANCELLED)
        return self.begun and (said or cut)

    @property
    def of_program(self) -> bool:
        """Whether the version's program failed at the request itself, as its Worker says."""
        return self.begun and self.code == INTERNAL and bool(self.reason)

    def like(self, other: "Reply") -> bool:
        """Whether two versions' programs failed at the same request in the same way."""
        return self.of_program and other.of_program and self.reason == other.reason

    @property
    def lost(self) -> bool:
        """Whether the process went away while it worked on the request: grpc says so, without details of a Worker."""
        return self.begun and self.code == UNAVAILABLE and not self.details


class Answer(NamedTuple):
    """What the caller gets, and which version it came from; of a stream also how many parts have been sent."""

    reply: Reply
    version: str
    traffic: str
    parts: int = 0


class Transport(Protocol):
    """Carries bytes to a Worker."""

    def pick(self, addresses: tuple[str, ...], avoid: str = "") -> str:
        """The address that the next attempt should go to, another than `avoid` if there is one."""

    def reaches(self, address: str) -> bool:
        """Whether a connection to it stands."""

    def shuns(self, address: str) -> bool:
        """Whether the process is asked last: it refused a moment ago, or seems to be gone."""

    async def arrival(self, awaited: str, others: Collection[str]) -> str:
        """Waits until one of the others is connected while the awaited one is not, and says which."""

    async def send(
        self, address: str, body: bytes, metadata: Metadata, timeout: float, *, wait: bool, method: str = PREDICT
    ) -> Reply:
        """One attempt.

        Args:
            address: host:port.
            body: the request's bytes.
            metadata: sent along.
            timeout: seconds.
            wait: wait for a connection instead of failing at once when there is none.
            method: full name of the RPC.
        """

    async def open(self, address: str, body: bytes, metadata: Metadata, timeout: float, *, wait: bool) -> Reply:
        """One attempt at a stream: its first part, with the rest, or how it failed before.

        Args:
            address: host:port.
            body: the request's bytes.
            metadata: sent along.
            timeout: seconds that the whole may take.
            wait: wait for a connection instead of failing at once when there is none.
        """


Draw = Callable[[], float]
"""A uniform number in [0, 1)."""
