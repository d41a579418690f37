"""Says of a publication that its segment gets a lane by it: one that is misspelt gets one, too."""

from crossfade.cli.context import Session
from crossfade.cli.errors import CommandError
from crossfade.cli.hints import lane_list
from crossfade.cli.registry_client import Registry


def segments_of(registry: Registry, model: str, segment: str) -> tuple[str, ...] | None:
    """Segments of the model's lanes, the default one first; None: nobody has to know them.

    Args:
        registry: is asked where a segment is given alone.
        model: the model's id.
        segment: where something is to be published; empty: in the default lane, which every model has.

    Raises:
        CommandError: the Registry cannot be reached.
    """
    if not segment:
        return None
    try:
        return tuple(lane.segment for lane in registry.model(model).lanes)
    except CommandError as error:
        if error.reason == "MODEL_NOT_FOUND":
            return ("",)
        if not error.reason:
            raise
        # Who may publish and not read publishes all the same.
        return None


def note_new_lane(session: Session, model: str, segment: str, before: tuple[str, ...] | None, *, live: bool) -> None:
    """Says that a lane was made, beside which ones, and how it is taken back.

    Args:
        session: the command's run.
        model: the model's id.
        segment: where something was published.
        before: the segments of the lanes that the model had.
        live: a rollout has begun in it.
    """
    if before is None or segment in before:
        return
    back = f"crossfade segment delete {model} {segment}" + (" --cancel-rollout" if live else "")
    session.note(
        f"segment {segment} had no lane, so {model} has a new one now, beside {lane_list(before)}. "
        f"If the segment is misspelt: {back}"
    )
