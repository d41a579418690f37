"""Which Router keeps the labels of a prediction: the highest random weight of its nonce.

Every label of one prediction reaches the same Router, whichever was called, so that a label sent twice counts once.
Source: Thaler, Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", 1998 (rendezvous hashing).
"""

import hashlib
from collections.abc import Iterable


def owner(nonce: int, instances: Iterable[str]) -> str:
    """The instance id with the highest weight for a nonce.

    Raises:
        ValueError: no instance.
    """
    return max(instances, key=lambda instance: (_weight(nonce, instance), instance))


def _weight(nonce: int, instance: str) -> bytes:
    return hashlib.sha256(nonce.to_bytes(8, "big") + instance.encode()).digest()
