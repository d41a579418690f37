"""What people read of an event of the audit log."""

from crossfade.registry.v1 import resources_pb2


def kind(event_type: str) -> str:
    """A type in words: `rollout promoted`."""
    return event_type.replace("_", " ").lower()


def why(event: resources_pb2.Event) -> str:
    """Its reason; of an undone lane that of its outcome, which also says what became of the version before."""
    return event.outcome.reason if event.type == "LANE_UNDONE" and event.outcome.reason else event.reason
