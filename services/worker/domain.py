"""The Worker's words: what is wanted, what a process is told, what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.common.text import fitting


class Traffic(StrEnum):
    """The kind of traffic that a request belongs to; an address is of kind live or control."""

    LIVE = "live"
    CONTROL = "control"
    SHADOW = "shadow"
    PINNED = "pinned"
    FAILOVER = "failover"
    REDUCED = "reduced"


TRAFFIC_NUMBERS: Final[Mapping[Traffic, int]] = {traffic: number for number, traffic in enumerate(Traffic, start=1)}
"""Numbers of `crossfade.common.v1.Traffic`, as prediction tokens hold them."""


@dataclass(frozen=True, slots=True, order=True)
class ServingKey:
    """What one process serves: a version, under an address for one kind of traffic."""

    model: str
    version: str
    traffic: Traffic

    def __str__(self) -> str:
        return f"{self.model}/{self.version}/{self.traffic}"


@dataclass(frozen=True, slots=True)
class ArtifactRef:
    """Where an artifact lies, and the digest (`sha256:<hex>`) that fixes every byte of it; size in bytes."""

    uri: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class TensorRef:
    """One tensor of a declared signature: shape with -1 for the batch."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SignatureRef:
    """The signature that the Registry holds for a version; the artifact must match it."""

    inputs: tuple[TensorRef, ...]
    outputs: tuple[TensorRef, ...]
    task: str
    classes: tuple[str, ...]
    parts: tuple[str, ...] = ()
    state: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WantedVersion:
    """A version that a lane wants held, under the kinds of traffic named."""

    version: str
    artifact: ArtifactRef
    signature: SignatureRef
    traffic: tuple[Traffic, ...]


@dataclass(frozen=True, slots=True)
class Lane:
    """What the routes say of one lane, as far as a Worker needs it."""

    model: str
    segment: str
    epoch: int
    slice_seconds: float
    wanted: tuple[WantedVersion, ...]
    failed_versions: frozenset[str]
    stable_version: str
    test_version: str
    watched: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LaneContext:
    """What a process knows of one lane that its version is in.

    Attributes:
        segment: the lane's segment.
        epoch: number of the split in force.
        slice_seconds: length of a slice.
        watched: segments of callers that gates watch by themselves.
    """

    segment: str
    epoch: int
    slice_seconds: float
    watched: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Context:
    """What a process is told whenever it changes.

    Attributes:
        lanes: the lanes that its version is in or has failed in, by segment.
        refused: segments of the lanes in which it has failed; their requests are turned away.
        profiles: ids of the versions whose reference profiles the inputs are counted against besides its own.
    """

    lanes: tuple[LaneContext, ...] = ()
    refused: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What was measured before a version was called ready; see crossfade.registry.v1.LoadReport."""

    device: str
    precision: str
    load_seconds: float
    full_seconds: float
    mixed_seconds: float
    timed_rows: int
    golden_error: float
    mixed_error: float
    precision_reason: str
    architecture: str = ""
    max_rows: int = 0


class FailureCode(StrEnum):
    """Why a version cannot be served here."""

    LOAD_FAILED = "LOAD_FAILED"
    VERIFY_FAILED = "VERIFY_FAILED"
    CRASHED = "CRASHED"


MOST_SAID: Final = 2_000
"""Characters of a sentence that each report to the Registry carries."""


class LoadError(Exception):
    """A version cannot be loaded; the message says why, as a sentence.

    Args:
        message: what was found, and what was expected; cut where it is long, and without what is no character: an
            artifact may say anything, and each report to the Registry carries it.
        code: LOAD_FAILED or VERIFY_FAILED.
        transient: a later attempt may succeed (the source could not be reached, this Worker lacks something).
    """

    def __init__(self, message: str, code: FailureCode = FailureCode.LOAD_FAILED, *, transient: bool = False) -> None:
        super().__init__(fitting(message, MOST_SAID))
        self.code = code
        self.transient = transient
