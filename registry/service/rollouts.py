"""Use cases of rollouts: start, the transitions, and what is known of them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from registry.domain.records import Outcome, PauseReason, Rollout, Signature, Spec
from registry.domain.states import RolloutOperation
from registry.filters import RolloutFilter
from registry.ports import Transaction, UnitOfWork
from registry.repositories import Page, RequestKey
from registry.service.lane_actions import require_lane
from registry.service.lanes import (
    ModelChange,
    commit,
    open_lane,
    require_model,
    require_rollout,
    with_sequences,
)
from registry.service.requests import Mutations
from registry.service.segment_rules import begin_with_default, check_watched
from registry.service.targets import Target
from registry.service.transitions import Encode, Transitions, rollout_of
from registry.service.versions import check_against_stable, require_version
from services.common.clock import Clock

_DONE: Final = {
    RolloutOperation.PROMOTE: "promoted",
    RolloutOperation.ROLLBACK: "rolled back",
    RolloutOperation.CANCEL: "cancelled",
    RolloutOperation.CONCLUDE: "ended as inconclusive",
    RolloutOperation.ADVANCE: "taken to its next step",
}


class RolloutService:
    """Starts rollouts, carries out what people and the Evaluator decide of them, and reads them.

    Every change happens once per request id, and answers what `encode` makes of the rollout after it. All but `start`
    raise:

    - NotFoundError: MODEL_NOT_FOUND, ROLLOUT_NOT_FOUND, LANE_NOT_FOUND.
    - AbortedError: ETAG_STALE, SEQUENCE_STALE; somebody was faster, or looked since.
    - FailedPreconditionError: TRANSITION_ILLEGAL, and what each says of itself.
    - InvalidArgumentError: REQUEST_ID_REUSED.

    Args:
        unit_of_work: what reads run in.
        mutations: what changes run in.
        clock: for how long is trusted what this process remembers of them.
    """

    def __init__(self, unit_of_work: UnitOfWork, mutations: Mutations, clock: Clock) -> None:
        self._unit_of_work = unit_of_work
        self._mutations = mutations
        self._transitions = Transitions(unit_of_work, mutations, clock)

    def start(
        self,
        key: RequestKey,
        name: tuple[str, str, str],
        spec: Spec,
        etag: str,
        encode: Encode,
        *,
        check: Callable[[Signature], None],
        deadline: float,
    ) -> bytes:
        """Starts a rollout of a PENDING version, or queues it behind the live one.

        Args:
            name: model, version and segment.
            etag: the lane's.
            check: raises for a specification by which such answers cannot be judged.

        Raises:
            InvalidArgumentError: what `check` raises.
            NotFoundError: MODEL_NOT_FOUND, VERSION_NOT_FOUND, LANE_NOT_FOUND.
            AbortedError: ETAG_STALE.
            FailedPreconditionError: TRANSITION_ILLEGAL, SIGNATURE_INCOMPATIBLE, SEGMENT_ELSEWHERE, SEGMENT_WATCHED.
        """
        model_id, version_id, segment = name

        def act(tx: Transaction, now: float) -> bytes:
            version = require_version(tx, model_id, version_id)
            check(version.signature)
            model = require_model(tx, model_id)
            lane = require_lane(tx, model_id, segment, etag)
            check_watched(tx, model_id, segment, spec)
            opened = open_lane(tx, lane, now=now, actor=key.principal, version=version_id)
            aggregate = opened.aggregate
            begin_with_default(tx, opened)
            aggregate.add(version_id)
            number = model.next_rollout
            aggregate.start(version_id, spec, number)
            if not spec.allow_incompatible:
                check_against_stable(tx, aggregate.lane.stable_version, version)
            counted = replace(model, next_rollout=number + 1)
            commit(tx, (ModelChange(counted, model, (opened,)),), actor=key.principal, now=now)
            return encode(rollout_of(tx, aggregate, model_id, number))

        return self._mutations.run(key, act, deadline=deadline)

    def advance(
        self, key: RequestKey, target: Target, outcome: Outcome, encode: Encode, *, force: bool, deadline: float
    ) -> bytes:
        """Goes to the next step; `force`: although too few Workers have the version ready.

        Raises:
            FailedPreconditionError: NOT_READY_ENOUGH.
        """
        operation = RolloutOperation.ADVANCE
        outcome = _complete(outcome, operation, key, target)

        return self._transitions.run(
            key,
            target,
            operation,
            lambda aggregate, _rollout, placements: aggregate.advance(outcome, placements(), force=force),
            encode=encode,
            deadline=deadline,
        )

    def pause(
        self, key: RequestKey, target: Target, reason: str, why: PauseReason, encode: Encode, *, deadline: float
    ) -> bytes:
        """Stops the plan's clock; the share in force stays."""
        return self._transitions.run(
            key,
            target,
            RolloutOperation.PAUSE,
            lambda aggregate, _rollout, _placements: aggregate.pause(reason or f"Paused by {key.principal}.", why),
            encode=encode,
            deadline=deadline,
        )

    def resume(self, key: RequestKey, target: Target, reason: str, encode: Encode, *, deadline: float) -> bytes:
        """Lets a paused plan go on; what a person paused, only a person."""
        automatic = target.analysis_sequence > 0
        return self._transitions.run(
            key,
            target,
            RolloutOperation.RESUME,
            lambda aggregate, _rollout, _placements: aggregate.resume(
                reason or f"Resumed by {key.principal}.", automatic=automatic
            ),
            encode=encode,
            deadline=deadline,
        )

    def approve(self, key: RequestKey, target: Target, reason: str, encode: Encode, *, deadline: float) -> bytes:
        """A person agrees to the promotion, which is carried out once the version has passed.

        Raises:
            FailedPreconditionError: APPROVAL_UNASKED, APPROVAL_GIVEN.
        """
        return self._transitions.run(
            key,
            target,
            RolloutOperation.APPROVE,
            lambda aggregate, rollout, _placements: aggregate.approve(
                rollout, reason or f"Approved by {key.principal}."
            ),
            encode=encode,
            deadline=deadline,
        )

    def promote(
        self, key: RequestKey, target: Target, outcome: Outcome, encode: Encode, *, force: bool, deadline: float
    ) -> bytes:
        """Makes the version stable and deprecates the old one; `force`: although too few Workers have it ready.

        Raises:
            FailedPreconditionError: NOT_READY_ENOUGH, APPROVAL_MISSING.
        """
        operation = RolloutOperation.PROMOTE
        outcome = _complete(outcome, operation, key, target)

        return self._transitions.run(
            key,
            target,
            operation,
            lambda aggregate, _rollout, placements: aggregate.promote(outcome, placements(), force=force),
            encode=encode,
            deadline=deadline,
        )

    def rollback(self, key: RequestKey, target: Target, outcome: Outcome, encode: Encode, *, deadline: float) -> bytes:
        """Ends it, gives all requests back to the stable version, and marks its own FAILED."""
        operation = RolloutOperation.ROLLBACK
        outcome = _complete(outcome, operation, key, target)
        return self._transitions.run(
            key,
            target,
            operation,
            lambda aggregate, _rollout, _placements: aggregate.rollback(outcome),
            encode=encode,
            deadline=deadline,
        )

    def cancel(
        self,
        key: RequestKey,
        target: Target,
        outcome: Outcome,
        encode: Encode,
        *,
        inconclusive: bool,
        deadline: float,
    ) -> bytes:
        """Ends it without blame: its version is PENDING again; `inconclusive`: as one that showed nothing."""
        operation = RolloutOperation.CONCLUDE if inconclusive else RolloutOperation.CANCEL
        outcome = _complete(outcome, operation, key, target)
        return self._transitions.run(
            key,
            target,
            operation,
            lambda aggregate, rollout, _placements: aggregate.cancel(rollout, outcome, inconclusive=inconclusive),
            encode=encode,
            deadline=deadline,
        )

    def get(self, model: str, number: int, *, deadline: float) -> Rollout:
        """A rollout.

        Raises:
            NotFoundError: MODEL_NOT_FOUND, ROLLOUT_NOT_FOUND.
        """
        found = self._unit_of_work.ask(lambda tx: tx.lanes.whole_rollout(model, number), deadline=deadline)
        if found is not None:
            return found
        # To say what is missing, the model or the rollout.
        return self._unit_of_work.run(lambda tx: require_rollout(tx, model, number), deadline=deadline, read_only=True)

    def page(
        self,
        model: str,
        before: tuple[float, str, int] | None,
        limit: int,
        only: RolloutFilter,
        *,
        deadline: float,
    ) -> Page[Rollout]:
        """Rollouts, newest first: of a model, or of all when it is empty.

        Raises:
            NotFoundError: MODEL_NOT_FOUND.
        """

        def read(tx: Transaction) -> Page[Rollout]:
            if model:
                require_model(tx, model)
            found = tx.lanes.page(model, before, limit, only)
            return Page(with_sequences(tx, found.rows), found.cut_short)

        return self._unit_of_work.run(read, deadline=deadline, read_only=True)


def _complete(outcome: Outcome, operation: RolloutOperation, key: RequestKey, target: Target) -> Outcome:
    """What the caller said, with who and on which look; where nothing was said, whether a person or a look asked."""
    return replace(
        outcome,
        reason=outcome.reason or f"It was {_DONE[operation]} by {key.principal}.",
        code=outcome.code or ("LOOK" if target.analysis_sequence else "PERSON"),
        actor=key.principal,
        analysis_sequence=target.analysis_sequence,
    )
