"""Which rollout a transition is for, and whether its caller has seen it as it is."""

from dataclasses import dataclass

from registry.domain.records import Rollout
from registry.repositories import Standing
from services.common.errors import AbortedError


@dataclass(frozen=True, slots=True)
class Target:
    """Which rollout a transition is for, and what its caller has seen of it.

    Attributes:
        etag: of the rollout, as the caller read it.
        analysis_sequence: the look that the caller rests on; 0: none.
    """

    model: str
    number: int
    etag: str
    analysis_sequence: int


def check_seen(rollout: Rollout | Standing, target: Target) -> None:
    """Refuses a transition whose caller has not seen the rollout as it is.

    Raises:
        AbortedError: ETAG_STALE, SEQUENCE_STALE.
    """
    if rollout.etag != target.etag:
        raise AbortedError(
            "ETAG_STALE",
            f"{rollout.title} has changed since you read it: it is {rollout.state}, {rollout.note!r}; "
            "read it again and decide again",
            state=rollout.state,
            etag=rollout.etag,
        )
    if target.analysis_sequence and target.analysis_sequence != rollout.analysis_sequence:
        raise AbortedError(
            "SEQUENCE_STALE",
            f"look {target.analysis_sequence} of {rollout.title} is not the latest, which is "
            f"{rollout.analysis_sequence}; decide again by that one",
            analysis_sequence=str(rollout.analysis_sequence),
        )
