"""An empty list of something that is not there is a mistake in writing, and no answer."""

from crossfade import names
from crossfade.cli.registry_client import Registry


def require_named(
    registry: Registry, model: str, *, version: str = "", rollout: int | None = None, segment: str | None = None
) -> None:
    """Asks for what a list was to be about, once the list has turned out empty.

    Args:
        registry: is asked.
        model: the model's id.
        version: the version's id; empty: of none.
        rollout: the rollout's number; None: of none.
        segment: a lane's; None: of none.

    Raises:
        CommandError: it is not there; the message says what is.
    """
    if version:
        registry.version(model, version)
    if rollout is not None:
        registry.rollout(names.rollout_name(model, rollout))
    if segment is not None:
        registry.lane(model, segment)
