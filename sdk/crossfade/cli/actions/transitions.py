"""What a person does to a rollout, with its etag: what changed meanwhile is told, never overrun.

Each finds the rollout, acts on it as it was read, and shows it as it is afterwards. It raises CommandError where there
is none, where somebody changed it meanwhile, and where the Registry refuses: the message says what to do.
"""

from collections.abc import Callable
from dataclasses import dataclass

from crossfade.cli import text
from crossfade.cli.context import Session
from crossfade.cli.errors import CommandError
from crossfade.cli.hints import every_request, lane_command
from crossfade.cli.registry_client import Registry, number_of, request_id
from crossfade.cli.render.jsons import to_json
from crossfade.cli.render.status import step_shadow, step_share
from crossfade.cli.render.style import LIVE_STATES, rollout_word
from crossfade.registry.v1 import service_pb2
from crossfade.registry.v1.resources_pb2 import PAUSE_REASON_PERSON, Outcome, Rollout

_PERSON = "PERSON"


@dataclass(frozen=True, slots=True)
class Target:
    """Which rollout, and why.

    Attributes:
        model: the model's id.
        segment: the lane's.
        number: the rollout's; None: the lane's live one.
        reason: one sentence; empty: none was given.
    """

    model: str
    segment: str
    number: int | None
    reason: str

    def outcome(self, done: str) -> Outcome:
        """What stands in the audit log."""
        return Outcome(reason=self.reason or f"{done} by hand", code=_PERSON)


@dataclass(frozen=True, slots=True)
class _Then:
    """What comes of a rollout's end.

    Attributes:
        requests: whose requests are the lane's: `every request`.
        starts: what begins in the lane: one that waited; empty: nothing.
    """

    requests: str = ""
    starts: str = ""

    def to_stable(self, rollout: Rollout) -> str:
        """Where the requests of a version go that is tested no more."""
        stable = f"; {self.requests} goes to {rollout.stable_version}" if rollout.stable_version else ""
        return self.starts or stable


def promote_rollout(session: Session, target: Target, *, force: bool) -> None:
    """Makes the rollout's version stable at once; `force`: although too few Workers have it ready."""

    def act(registry: Registry, rollout: Rollout) -> Rollout:
        request = service_pb2.PromoteRolloutRequest(
            name=rollout.name,
            etag=rollout.etag,
            outcome=target.outcome("promoted"),
            force=force,
            request_id=request_id(),
        )
        return registry.promote(request)

    def say(rollout: Rollout, then: _Then) -> str:
        old = f"; {rollout.stable_version} is DEPRECATED" if rollout.stable_version else ""
        gets = "" if then.starts else f" and gets {then.requests}"
        return f"{rollout.version} promoted: it is STABLE{gets}{old}{then.starts}"

    _transition(session, target, act, say)


def approve_rollout(session: Session, target: Target) -> None:
    """Agrees to the promotion of a version that waits for a person, for when it has passed."""

    def act(registry: Registry, rollout: Rollout) -> Rollout:
        request = service_pb2.ApproveRolloutRequest(
            name=rollout.name, etag=rollout.etag, reason=target.reason, request_id=request_id()
        )
        return registry.approve(request)

    def say(rollout: Rollout, _: _Then) -> str:
        return f"rollout {number_of(rollout)} approved: {rollout.version} is promoted when it has passed"

    _transition(session, target, act, say)


def roll_back_rollout(session: Session, target: Target) -> None:
    """Gives all requests back to the stable version and marks the rollout's own FAILED."""

    def act(registry: Registry, rollout: Rollout) -> Rollout:
        request = service_pb2.RollbackRolloutRequest(
            name=rollout.name, etag=rollout.etag, outcome=target.outcome("rolled back"), request_id=request_id()
        )
        return registry.roll_back(request)

    def say(rollout: Rollout, then: _Then) -> str:
        return f"{rollout.version} rolled back: it is FAILED{then.to_stable(rollout)}"

    _transition(session, target, act, say)


def pause_rollout(session: Session, target: Target) -> None:
    """Stops the plan where it is; the share in force stays."""

    def act(registry: Registry, rollout: Rollout) -> Rollout:
        request = service_pb2.PauseRolloutRequest(
            name=rollout.name,
            etag=rollout.etag,
            reason=target.reason or "paused by hand",
            pause_reason=PAUSE_REASON_PERSON,
            request_id=request_id(),
        )
        return registry.pause(request)

    def say(rollout: Rollout, _: _Then) -> str:
        resume = lane_command(f"resume {target.model}", rollout.segment)
        return f"rollout {number_of(rollout)} paused at {_share(rollout)}; {resume} lets it go on"

    _transition(session, target, act, say)


def resume_rollout(session: Session, target: Target) -> None:
    """Lets a paused plan go on."""

    def act(registry: Registry, rollout: Rollout) -> Rollout:
        request = service_pb2.ResumeRolloutRequest(
            name=rollout.name, etag=rollout.etag, reason=target.reason or "resumed by hand", request_id=request_id()
        )
        return registry.resume(request)

    def say(rollout: Rollout, _: _Then) -> str:
        return f"rollout {number_of(rollout)} goes on at {_share(rollout)}"

    _transition(session, target, act, say)


def abort_rollout(session: Session, target: Target) -> None:
    """Ends the rollout without blame: its version is PENDING again."""

    def act(registry: Registry, rollout: Rollout) -> Rollout:
        request = service_pb2.CancelRolloutRequest(
            name=rollout.name, etag=rollout.etag, outcome=target.outcome("cancelled"), request_id=request_id()
        )
        return registry.cancel(request)

    def say(rollout: Rollout, then: _Then) -> str:
        if not rollout.HasField("start_time"):
            return f"rollout {number_of(rollout)} cancelled before it began: {rollout.version} is PENDING"
        return f"rollout {number_of(rollout)} cancelled: {rollout.version} is PENDING again{then.to_stable(rollout)}"

    _transition(session, target, act, say)


def advance_rollout(session: Session, target: Target, *, force: bool) -> None:
    """Goes to the next step before its time; `force`: although too few Workers have the version ready."""

    def act(registry: Registry, rollout: Rollout) -> Rollout:
        request = service_pb2.AdvanceRolloutRequest(
            name=rollout.name,
            etag=rollout.etag,
            reason=target.reason or "advanced by hand",
            outcome=target.outcome("advanced"),
            force=force,
            request_id=request_id(),
        )
        return registry.advance(request)

    def say(rollout: Rollout, _: _Then) -> str:
        steps = f"step {rollout.step + 1} of {len(rollout.plan.steps)}"
        return f"rollout {number_of(rollout)}: {rollout.version} gets {text.share(step_share(rollout))} ({steps})"

    _transition(session, target, act, say)


def _transition(
    session: Session,
    target: Target,
    act: Callable[[Registry, Rollout], Rollout],
    say: Callable[[Rollout, _Then], str],
) -> None:
    registry = Registry(session.connect.registry())
    before = registry.find_rollout(target.model, target.segment, target.number)
    try:
        after = act(registry, before)
    except CommandError as error:
        if error.reason != "ETAG_STALE":
            raise
        raise error.saying(changed(target.model, before, registry.rollout(before.name))) from error
    session.show(to_json(after), lambda: say(after, _then(registry, target.model, after)))


def changed(model: str, before: Rollout, after: Rollout) -> str:
    """What somebody else did to a rollout between our reading and our acting."""
    return (
        f"rollout {number_of(before)} has changed since it was read: it was {_standing(before)}, it is "
        f"{_standing(after)}. Look at it (crossfade explain {model} --rollout {number_of(before)}), then say it again "
        "if you still want it"
    )


def _share(rollout: Rollout) -> str:
    if step_shadow(rollout):
        return f"copies of {text.share(step_share(rollout))}"
    return text.share(rollout.effective_share_bps)


def _standing(rollout: Rollout) -> str:
    share = rollout.effective_share_bps
    words = rollout_word(rollout.state) + (f" at {text.share(share)}" if share else "")
    reason = rollout.outcome.reason or rollout.note
    return f"{words} ({reason.rstrip('.')})" if reason else words


def _then(registry: Registry, model: str, ended: Rollout) -> _Then:
    """What the lane's requests do now that a rollout has ended, and what begins there."""
    if ended.state in LIVE_STATES:
        return _Then()
    try:
        lanes = registry.model(model).lanes
        requests = every_request(ended.segment, [lane.segment for lane in lanes])
        live = next((lane.rollout for lane in lanes if lane.segment == ended.segment), "")
        if not live or live == ended.name:
            return _Then(requests)
        following = registry.rollout(live)
    except CommandError:
        # What was asked for is done all the same.
        return _Then(every_request(ended.segment, ()))
    return _Then(requests, f"; rollout {number_of(following)} ({following.version}) starts now")
