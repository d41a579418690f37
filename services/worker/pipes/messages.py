"""What the processes of a Worker say to one another over their pipes.

The supervisor speaks with a version's first front-end, which hears from the engine and leads further front-ends.

A frame is the lengths of its two parts (4 bytes each, network order), a JSON object, and bytes that JSON would carry
badly. Nothing is pickled: the process runs a model that others made.
"""

import asyncio
import json
import struct
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, get_args

from crossfade.strict_json import decode, encode
from services.common.telemetry.otlp import METRICS
from services.common.telemetry.store import Snapshot
from services.worker.domain import Context, FailureCode, LoadReport

_LENGTHS: Final = struct.Struct("!II")
_LIMIT: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Ready:
    """From the engine: the version is verified; the bytes are its program, if it is light (`pack_if_light`). From the
    first front-end: it serves.

    Attributes:
        report: what was measured.
        bounds: from the engine: see `index_bounds`.
    """

    report: LoadReport
    bounds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """From the process: the version cannot be served; it ends."""

    code: FailureCode
    message: str


@dataclass(frozen=True, slots=True)
class Tell:
    """To the process: what it knows of its lanes, and the folders of the artifacts whose profiles it counts by."""

    context: Context
    profiles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Serve:
    """To a further front-end: the version is verified and runs in this precision; serve, knowing this. The bytes are as
    those of `Ready`.

    Attributes:
        precision: what it runs in.
        bounds: see `index_bounds`.
        told: of its lanes.
    """

    precision: str
    bounds: tuple[int, ...]
    told: Tell


@dataclass(frozen=True, slots=True)
class Serving:
    """From a further front-end: it serves."""


@dataclass(frozen=True, slots=True)
class Drain:
    """To the process: end when no request came for `quiet_seconds`, at the latest after `limit_seconds`."""

    quiet_seconds: float
    limit_seconds: float


@dataclass(frozen=True, slots=True)
class Count:
    """To the process: send the counts, under this number."""

    number: int


@dataclass(frozen=True, slots=True)
class Series:
    """One series of `Counts`: how many counts it has in the frame's bytes, and whether each has a label."""

    metric: str
    attributes: tuple[str, ...]
    size: int
    labelled: bool


@dataclass(frozen=True, slots=True)
class Counts:
    """From the process: its series; the frame's bytes hold all counts, then the number of each label, then since when
    each series counts (int64), then each one's total (float64), then the labels (JSON).

    Thousands of classes stand in each of a version's series, so their names are there once, and not decoded one by one.
    """

    number: int
    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True)
class Crashing:
    """From the process, or from a further front-end to the first: why it ends without having been told to."""

    message: str


@dataclass(frozen=True, slots=True)
class Labels:
    """From a further front-end to the first, which alone knows what labels came: the bytes are a FeedbackRequest."""

    number: int


@dataclass(frozen=True, slots=True)
class Labelled:
    """Answers `Labels`: the bytes are a FeedbackResponse, unless `problem` says why there is none."""

    number: int
    problem: str = ""


Message: TypeAlias = Ready | Failed | Tell | Serve | Serving | Drain | Count | Counts | Crashing | Labels | Labelled
_KINDS: Final[Mapping[object, type[Message]]] = {kind.__name__: kind for kind in get_args(Message)}


def pack(message: Message, binary: bytes = b"") -> bytes:
    """One frame.

    Raises:
        ValueError: it is larger than `read` takes.
    """
    text = encode({"kind": type(message).__name__, "body": message})
    if len(text) + len(binary) > _LIMIT:
        raise ValueError(f"a frame of {len(text) + len(binary)} bytes; {_LIMIT} at most")
    return _LENGTHS.pack(len(text), len(binary)) + text + binary


async def read(reader: asyncio.StreamReader) -> tuple[Message, bytes] | None:
    """The next frame; None at the end of the stream.

    Raises:
        ValueError: what came is no frame.
    """
    try:
        text_length, length = _LENGTHS.unpack(await reader.readexactly(_LENGTHS.size))
        if text_length + length > _LIMIT:
            raise ValueError(f"a frame of {text_length + length} bytes")
        frame = json.loads(await reader.readexactly(text_length))
        binary = await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    kind = _KINDS.get(frame.get("kind")) if isinstance(frame, dict) else None
    if kind is None:
        raise ValueError("a frame of no known kind")
    return decode(kind, frame["body"]), binary


def pack_counts(number: int, snapshots: Sequence[Snapshot]) -> bytes:
    """The frame of `Counts`."""
    counts, labels = array("q"), array("q")
    numbers: dict[str, int] = {}
    for snapshot in snapshots:
        counts.extend(snapshot.counts)
        labels.extend([numbers.setdefault(label, len(numbers)) for label in snapshot.labels])
    starts = array("q", [snapshot.start_ns for snapshot in snapshots])
    totals = array("d", [snapshot.total for snapshot in snapshots])
    series = tuple(
        Series(snapshot.metric.name, snapshot.attributes, len(snapshot.counts), bool(snapshot.labels))
        for snapshot in snapshots
    )
    parts = (counts.tobytes(), labels.tobytes(), starts.tobytes(), totals.tobytes(), json.dumps([*numbers]).encode())
    return pack(Counts(number, series), b"".join(parts))


def unpack_counts(message: Counts, binary: bytes) -> list[Snapshot]:
    """The series of a frame.

    Raises:
        ValueError: the bytes do not belong to the series, or a metric is unknown.
    """
    counted = sum(series.size for series in message.series)
    labelled = sum(series.size for series in message.series if series.labelled)
    whole = 8 * (counted + labelled + len(message.series))
    end = whole + 8 * len(message.series)
    if len(binary) < end:
        raise ValueError(f"{len(binary)} bytes of counts for {len(message.series)} series")
    numbers = array("q", binary[:whole])
    totals = array("d", binary[whole:end])
    known = _labels(binary[end:], numbers[counted : counted + labelled])
    snapshots = []
    position = label = 0
    for series, start, total in zip(message.series, numbers[counted + labelled :], totals, strict=True):
        metric = METRICS.get(series.metric)
        if metric is None:
            raise ValueError(f"an unknown metric {series.metric!r}")
        part = tuple(numbers[position : position + series.size])
        labels = tuple(known[label : label + series.size]) if series.labelled else ()
        snapshots.append(Snapshot(metric, series.attributes, part, total, labels, start))
        position += series.size
        label += len(labels)
    return snapshots


def _labels(text: bytes, numbers: Sequence[int]) -> list[str]:
    """The labels that stand under these numbers."""
    table = json.loads(text)
    fits = isinstance(table, list) and all(isinstance(one, str) for one in table)
    if not fits or any(not 0 <= number < len(table) for number in numbers):
        raise ValueError("labels that are none, or are not there")
    return [table[number] for number in numbers]
