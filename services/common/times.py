"""Seconds and microseconds to protobuf's times, and back."""

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp


def duration(seconds: float) -> Duration:
    """Seconds as a Duration, to the microsecond."""
    message = Duration()
    message.FromMicroseconds(round(seconds * 1e6))
    return message


def seconds(message: Duration) -> float:
    """A Duration in seconds."""
    return message.seconds + message.nanos / 1e9


def timestamp(microseconds: int) -> Timestamp:
    """Microseconds since 1970-01-01 UTC as a Timestamp."""
    message = Timestamp()
    message.FromMicroseconds(microseconds)
    return message


def microseconds(message: Timestamp) -> int:
    """A Timestamp in microseconds since 1970-01-01 UTC."""
    return message.seconds * 1_000_000 + message.nanos // 1_000


def unix_seconds(message: Timestamp) -> float:
    """A Timestamp in seconds since 1970-01-01 UTC, to the microsecond."""
    return microseconds(message) / 1e6
