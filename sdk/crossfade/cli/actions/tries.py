"""Which rollouts of a version came before one: each that was looked at is another try, with its own chance to pass."""

from typing import Final

from crossfade.cli.context import Session
from crossfade.cli.errors import CommandError
from crossfade.cli.registry_client import Registry
from crossfade.cli.render.style import LIVE_STATES
from crossfade.cli.render.tries import tries_sentence
from crossfade.names import parse_rollout
from crossfade.registry.v1.resources_pb2 import Rollout
from crossfade.registry.v1.service_pb2 import ListRolloutsRequest

_LOOK_BACK: Final = 100


def earlier_tries(registry: Registry, model: str, rollout: Rollout) -> list[Rollout]:
    """Those of the version's rollouts in its lane that had a look and have ended before this one began, newest first.

    Raises:
        CommandError: the Registry cannot be asked.
    """
    _, this = parse_rollout(rollout.name)
    alike = ListRolloutsRequest(segment=rollout.segment, version=rollout.version)
    return [
        one
        for one in registry.rollouts(model, alike, limit=_LOOK_BACK)
        if parse_rollout(one.name)[1] < this and one.analysis_sequence and one.state not in LIVE_STATES
    ]


def note_tries(session: Session, registry: Registry, model: str, rollout: Rollout) -> None:
    """Says of a version whose rollout was just asked for, and that was tried before, what another try means."""
    if session.options.json:
        return
    try:
        said = tries_sentence(rollout, earlier_tries(registry, model, rollout))
    except CommandError:
        # The rollout is asked for; that its past cannot be read is no reason to fail.
        return
    if said:
        session.note(said)
