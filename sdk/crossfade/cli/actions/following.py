"""Waiting for the outcome of what was asked for: told as it comes, and left alone when the person has enough."""

import time
from collections.abc import Callable, Generator, Iterator
from typing import Final, TypeVar

from crossfade.cli import text
from crossfade.cli.context import Session
from crossfade.cli.errors import CommandError, ExitCode
from crossfade.cli.hints import lane_command
from crossfade.cli.registry_client import Registry, number_of
from crossfade.cli.render.style import LIVE_STATES, rollout_word
from crossfade.common.v1.model_pb2 import TRAFFIC_LIVE
from crossfade.names import parse_rollout
from crossfade.registry.v1 import resources_pb2
from crossfade.router.v1 import router_pb2, router_pb2_grpc

Progress = Iterator[tuple[str, bool]]
"""Sentences, and whether each is the last one."""

_Answer = TypeVar("_Answer")

_POLL: Final = 0.5
_SHADOW_PASSED: Final = "SHADOW_PASSED"
_NOT_ROUTED: Final = frozenset({"MODEL_NOT_FOUND", "NO_STABLE_VERSION"})
"""What a Router says that has not heard of a publication yet."""


def follow(session: Session, model: str, progress: Progress, seconds: float, left: str) -> None:
    """Tells the progress until it is done.

    Args:
        session: the command's run.
        model: the model's id.
        progress: what is told.
        seconds: for so long.
        left: what goes on after Ctrl-C, and what follows it.

    Raises:
        CommandError: the version was not promoted, cannot be loaded, the time is over, or Ctrl-C has ended the wait.
    """
    deadline = time.monotonic() + seconds
    said = ""
    try:
        for sentence, done in progress:
            if sentence != said and not session.options.json:
                session.note(sentence)
                said = sentence
            if done:
                return
            if time.monotonic() >= deadline:
                raise CommandError(
                    f"not decided after {text.span(seconds)}: {sentence.rstrip('.')}; crossfade status {model} -w"
                )
            time.sleep(_POLL)
    except KeyboardInterrupt:
        raise CommandError(f"the wait is ended; {left}", ExitCode.INTERRUPTED, hint=left) from None


def rollout_left(model: str, rollout: resources_pb2.Rollout) -> str:
    """What a rollout does when nobody waits for it any more."""
    ends = lane_command(f"abort {model} --rollout {number_of(rollout)}", rollout.segment)
    return (
        f"rollout {number_of(rollout)} goes on without it: crossfade status {model} -w follows it, and {ends} ends it"
    )


def load_left(model: str, version: str) -> str:
    """What becomes of a version's loading when nobody waits for it any more."""
    return f"{version} is loaded all the same: crossfade versions show {model} {version} says when it is ready"


def rollout_progress(registry: Registry, name: str) -> Progress:
    """Until a rollout has ended.

    Raises:
        CommandError: its version was not promoted.
    """
    while True:
        rollout = yield from _once_answered(lambda: registry.rollout(name))
        state = rollout_word(rollout.state)
        reason = rollout.outcome.reason or rollout.note
        sentence = f"rollout {number_of(rollout)}: {rollout.version} {state}" + (f": {reason}" if reason else "")
        if rollout.outcome.code == _SHADOW_PASSED:
            start = lane_command(f"start {parse_rollout(name)[0]} {rollout.version}", rollout.segment)
            yield f"{sentence.rstrip('.')}. Live requests: {start}", True
        if rollout.state not in LIVE_STATES and rollout.state != resources_pb2.ROLLOUT_STATE_PROMOTED:
            raise CommandError(sentence)
        yield sentence, rollout.state == resources_pb2.ROLLOUT_STATE_PROMOTED


def load_progress(registry: Registry, model: str, version: str) -> Progress:
    """Until a Worker has a version ready.

    Raises:
        CommandError: it cannot be served.
    """
    while True:
        found = yield from _once_answered(lambda: registry.version(model, version))
        live = [one.serving for one in found.readiness if one.serving.traffic == TRAFFIC_LIVE]
        ready = [one for one in live if one.state == resources_pb2.SERVING_STATE_READY]
        failed = [one for one in live if one.state == resources_pb2.SERVING_STATE_FAILED]
        if failed and len(failed) == len(live):
            raise CommandError(f"{version} cannot be served: {failed[0].error_code}: {failed[0].error}")
        if ready:
            yield f"{version} is ready at {ready[0].address}", True
        loading = f"{version} is being loaded" if live else f"{version} waits for a worker"
        obstacle = next((one.error for one in live if one.error), "")
        yield f"{loading}: {obstacle}" if obstacle else loading, False


def _once_answered(ask: Callable[[], _Answer]) -> Generator[tuple[str, bool], None, _Answer]:
    """What the Registry answers. While it is away rollouts stand still, and so does the wait.

    Raises:
        CommandError: it refuses.
    """
    while True:
        try:
            return ask()
        except CommandError as error:
            if error.exit_code is not ExitCode.NOTHING_ANSWERS:
                raise
            yield f"{error.message}; trying again", False


def route_progress(session: Session, registry: Registry, model: str, version: str, segment: str) -> Progress:
    """As above, and then until the Router sends requests there, so that a Predict call may follow at once.

    Raises:
        CommandError: the version cannot be served, or no Router says that it is routed to.
    """
    for sentence, ready in load_progress(registry, model, version):
        if ready:
            break
        yield sentence, False
    router = session.connect.router()
    stub = router_pb2_grpc.RouterServiceStub(router.channel)
    request = router_pb2.GetRouteRequest(model=model, segment=segment)
    while True:
        try:
            route = router.call(stub.GetRoute, request)
        except CommandError as error:
            said = f"{version} is ready; at the Router: {error.message}"
            # Only one that answers, and is a moment behind the Registry, is waited for.
            if error.reason not in _NOT_ROUTED:
                raise error.saying(said) from error
            yield said, False
        else:
            routed = route.version == version and bool(route.addresses)
            where = f"answers at {router.address}" if routed else f"is ready; {router.address} does not route to it yet"
            yield f"{version} {where}", routed
