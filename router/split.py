"""Splitting: which bucket a request falls into, and which arm owns the bucket.

Any language computes the bucket of a key with its standard library; docs/architecture.md publishes test vectors.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.common.telemetry.catalog import COHORTS

BUCKETS: Final = 10_000
"""Buckets of a lane; one is a basis point of its requests."""


class ArmName(StrEnum):
    """The arms of a rollout."""

    TEST = "test"
    CONTROL = "control"
    STABLE = "stable"


def bucket_of(model: str, key: str) -> int:
    """The bucket of a routing key: the first 8 bytes of SHA-256(model, NUL, key), big endian, mod 10,000."""
    digest = hashlib.sha256(f"{model}\0{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % BUCKETS


def cohort_of(bucket: int) -> int:
    """The cohort of a bucket, 0 to 49: what happens to its keys is counted together.

    Neighbours are in different ones, so that an arm, which has a range of buckets, has some of every cohort.
    """
    return bucket % COHORTS


@dataclass(frozen=True, slots=True)
class Split:
    """Who owns which buckets.

    The test version has [offset, offset + test) mod 10,000 and control the range after it, so that growing the test
    share never moves a key from test back to stable.

    Attributes:
        offset: first bucket of the test version, 0 to 9,999.
        test: buckets of the test version.
        control: buckets of control; at most what test leaves.
    """

    offset: int
    test: int
    control: int

    @property
    def tried(self) -> bool:
        """Whether a version is being tried."""
        return bool(self.test or self.control)

    def arm(self, bucket: int) -> ArmName:
        """The arm that owns a bucket."""
        place = (bucket - self.offset) % BUCKETS
        if place < self.test:
            return ArmName.TEST
        if place < self.test + self.control:
            return ArmName.CONTROL
        return ArmName.STABLE
