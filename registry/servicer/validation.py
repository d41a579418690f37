"""What a request must look like, whatever the state of the system; every refusal names the field."""

import re
import uuid
from collections.abc import Callable
from typing import Final, TypeVar

from google.protobuf import timestamp_pb2

from crossfade import names
from crossfade.addresses import check_address
from crossfade.enum_names import enum_name
from crossfade.quantities import format_duration
from crossfade.registry.v1 import resources_pb2, service_pb2
from registry import converters
from registry.cleaning import clean
from registry.domain.history import Moment
from registry.domain.lane import LONGEST_LOAD_SECONDS
from registry.servicer.policy_validation import check_profile, check_signature, check_spec, refuse
from services.common.errors import InvalidArgumentError
from services.common.policy.records import Meaning
from services.common.text import control_character, fitting

T = TypeVar("T")

ANY_MODEL: Final = "models/-"
PAGE_DEFAULT: Final = 100
PAGE_LIMIT: Final = 1_000
_TEXT_LIMIT: Final = 4_000
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}\Z")
_TRACE: Final = re.compile(r"[0-9a-f]{32}")
_MOST_TRACES: Final = 20
_LOAD_DEFAULT: Final = 3600.0
LATEST_SECONDS: Final = 7_000 * 365 * 86_400.0
"""Since 1970: later times are no times."""


def request_id(value: str) -> str:
    """The caller's UUID in its usual form.

    Raises:
        InvalidArgumentError: REQUEST_ID_MISSING, FIELD_INVALID.
    """
    if not value:
        raise InvalidArgumentError(
            "REQUEST_ID_MISSING",
            "request_id is required: make a UUID for this request, and use it again only to repeat the same request",
            field="request_id",
        )
    try:
        return str(uuid.UUID(value))
    except ValueError as error:
        raise refuse("request_id", f"{value!r} is not a UUID") from error


def etag(value: str) -> str:
    """The etag of what is to be changed.

    Raises:
        InvalidArgumentError: ETAG_MISSING.
    """
    if not value:
        raise InvalidArgumentError(
            "ETAG_MISSING", "etag is required: read what you want to change and send its etag", field="etag"
        )
    return value


def _named(field: str, parse: Callable[[str], T], value: str) -> T:
    try:
        return parse(value)
    except ValueError as error:
        raise refuse(field, str(error)) from error


def identifier(field: str, value: str) -> str:
    """A model's or a version's id."""
    try:
        return names.check_id(value, field)
    except ValueError as error:
        raise InvalidArgumentError("FIELD_INVALID", str(error), field=field) from error


def model_identifier(field: str, value: str) -> str:
    """A new model's id."""
    try:
        return names.check_new_model(value, field)
    except ValueError as error:
        raise InvalidArgumentError("FIELD_INVALID", str(error), field=field) from error


def model_name(field: str, value: str) -> str:
    """The id in `models/{model}`."""
    return identifier(field, _named(field, names.parse_model, value))


def model_or_any(field: str, value: str) -> str:
    """The id in `models/{model}`; empty for `models/-`."""
    return "" if value == ANY_MODEL else model_name(field, value)


def version_name(field: str, value: str) -> tuple[str, str]:
    """The ids in `models/{model}/versions/{version}`."""
    model, version = _named(field, names.parse_version, value)
    return identifier(field, model), identifier(field, version)


def rollout_name(field: str, value: str) -> tuple[str, int]:
    """The id and the number in `models/{model}/rollouts/{rollout}`."""
    model, number = _named(field, names.parse_rollout, value)
    return identifier(field, model), number


def segment(field: str, value: str) -> str:
    """A segment; empty is the default one."""
    return identifier(field, value) if value else ""


def own_segment(field: str, value: str) -> str:
    """A segment that is not the default one."""
    if not value:
        raise refuse(field, "is required; the default segment has its lane with the model")
    return identifier(field, value)


def update_paths(request: service_pb2.UpdateModelRequest) -> frozenset[str]:
    """What is to be changed.

    Raises:
        InvalidArgumentError: FIELD_INVALID.
    """
    paths = frozenset(request.update_mask.paths)
    unknown = sorted(paths - {"description", "*"})
    if unknown:
        raise refuse("update_mask", f"names {', '.join(unknown)}; description is all of a model that can be changed")
    # A mask that names nothing is none (AIP-134): clients that always send one must not be told that all went well.
    return frozenset({"description"} if paths or request.model.description else ())


def moment(request: service_pb2.GetModelRequest) -> Moment | None:
    """As of when a model is asked for; None: now.

    Raises:
        InvalidArgumentError: FIELD_INVALID.
    """
    not_negative("revision", request.revision)
    timed = request.HasField("read_time")
    if timed and request.revision:
        raise refuse("revision", "and read_time are both set; name one moment")
    if not timed and not request.revision:
        return None
    return Moment(time("read_time", request.read_time) if timed else 0.0, request.revision)


def time(field: str, value: timestamp_pb2.Timestamp) -> float:
    """A time, in seconds since 1970.

    Raises:
        InvalidArgumentError: FIELD_INVALID, it is before 1970 or after 9000.
    """
    seconds = converters.seconds_since_1970(value)
    if not 0 <= seconds < LATEST_SECONDS:
        raise refuse(field, "is no time of this age; use one from 1970 to 8900")
    return seconds


def text(field: str, value: str, *, lines: bool = True) -> str:
    """Words of people.

    Args:
        field: its path.
        value: the words.
        lines: they may have several lines.

    Raises:
        InvalidArgumentError: FIELD_INVALID, they are too long or have control characters.
    """
    if len(value) > _TEXT_LIMIT:
        raise refuse(field, f"has {len(value)} characters; at most {_TEXT_LIMIT} are kept")
    # As files and forms of Windows have them.
    value = value.replace("\r\n", "\n") if lines else value
    if control := control_character(value, lines=lines):
        raise refuse(field, f"has the control character {control}, on which terminals act that show it; leave it out")
    return value


def reason(field: str, value: str, look: int) -> str:
    """Why something is to be done.

    Args:
        field: its path.
        value: the words.
        look: that it rests on; 0: none, a person says so. What a process says may have names in it that an older
            release took, and must not fail for them: it is kept without control characters.
    """
    return text(field, fitting(value, len(value)) if look else value)


def page_size(value: int) -> int:
    """The size of a page, its default filled in."""
    if not 0 <= value <= PAGE_LIMIT:
        raise refuse("page_size", f"is {value}; use 1 to {PAGE_LIMIT}, or 0 for {PAGE_DEFAULT}")
    return value or PAGE_DEFAULT


def not_negative(field: str, value: int) -> int:
    """A number from 0."""
    if value < 0:
        raise refuse(field, f"is {value}; it cannot be negative")
    return value


def publication(request: service_pb2.PublishVersionRequest) -> None:
    """Checks a publication."""
    artifact = request.version.artifact
    if not artifact.uri:
        raise refuse("version.artifact.uri", "is required: where model.json lies, as in file:///models/churn-1")
    text("version.artifact.uri", artifact.uri, lines=False)
    try:
        check_address(artifact.uri)
    except ValueError as error:
        raise refuse("version.artifact.uri", str(error)) from error
    if not _DIGEST.match(artifact.digest):
        raise refuse("version.artifact.digest", f"{artifact.digest!r} is not sha256: and 64 hexadecimal digits")
    if artifact.size_bytes <= 0:
        raise refuse("version.artifact.size_bytes", f"is {artifact.size_bytes}; an artifact has at least one byte")
    check_signature("version.signature", request.version.signature)
    if request.version.HasField("profile"):
        check_profile("version.profile", request.version.profile, len(request.version.signature.classes))
    text("version.description", request.version.description)
    if not request.without_rollout:
        said = request.version.signature
        check_spec("rollout", request.rollout, Meaning(said.task, tuple(said.classes), said.positive_class))
    elif request.HasField("rollout"):
        raise refuse("rollout", "says how a rollout is to be done, and without_rollout that there is none; drop one")


def load_seconds(request: service_pb2.LoadVersionRequest) -> float:
    """For how long a version is to be held; 0: it is to be let go.

    Raises:
        InvalidArgumentError: FIELD_INVALID.
    """
    if not request.HasField("ttl"):
        return _LOAD_DEFAULT
    seconds = converters.seconds_of(request.ttl)
    if seconds != 0 and not 1 <= seconds <= LONGEST_LOAD_SECONDS:
        raise refuse(
            "ttl",
            f"is {format_duration(seconds)}; use 1s to {format_duration(LONGEST_LOAD_SECONDS)}, "
            "or 0s to let the version go",
        )
    return seconds


def outcome(field: str, message: resources_pb2.Outcome, look: int) -> resources_pb2.Outcome:
    """The evidence of a transition, without control characters.

    Args:
        field: its path.
        message: as it was sent.
        look: that the transition rests on; 0: none, a person asks.

    Raises:
        InvalidArgumentError: FIELD_INVALID.
    """
    kept = resources_pb2.Outcome()
    kept.CopyFrom(message)
    kept.reason = reason(f"{field}.reason", message.reason, look)
    kept.gate = reason(f"{field}.gate", message.gate, look)
    clean(kept.summary)
    if message.code and not re.fullmatch(r"[A-Z][A-Z0-9_]{0,62}", message.code):
        raise refuse(f"{field}.code", f"{message.code!r} is not UPPER_SNAKE")
    if len(message.trace_ids) > _MOST_TRACES or not all(_TRACE.fullmatch(one) for one in message.trace_ids):
        raise refuse(f"{field}.trace_ids", f"must be at most {_MOST_TRACES} ids of 32 hex digits")
    return kept


def pause_reason(value: resources_pb2.PauseReason.ValueType, look: int) -> str:
    """Why a rollout is to be paused; the default is PERSON, and where it rests on a look INPUT_DRIFT.

    Raises:
        InvalidArgumentError: FIELD_INVALID.
    """
    if value not in resources_pb2.PauseReason.values():
        raise refuse("pause_reason", "is unknown; use PERSON or INPUT_DRIFT")
    if look and value == resources_pb2.PAUSE_REASON_PERSON:
        raise refuse("pause_reason", "is PERSON, who rests on no look: use INPUT_DRIFT, or no analysis_sequence")
    usual = resources_pb2.PAUSE_REASON_INPUT_DRIFT if look else resources_pb2.PAUSE_REASON_PERSON
    return enum_name(resources_pb2.PauseReason.DESCRIPTOR, value or usual)
