"""Use cases of recorded looks."""

from registry.domain.states import LIVE_STATES
from registry.ports import Transaction, UnitOfWork
from registry.repositories import Look, Page, RequestKey
from registry.service.lanes import require_rollout, with_sequences
from registry.service.requests import Mutations
from services.common.errors import AbortedError, FailedPreconditionError


class LookService:
    """Recorded looks: outside etags, routes and events, so that a look never aborts a person's action."""

    def __init__(self, unit_of_work: UnitOfWork, mutations: Mutations) -> None:
        self._unit_of_work = unit_of_work
        self._mutations = mutations

    def record(self, key: RequestKey, model: str, number: int, look: Look, answer: bytes, *, deadline: float) -> bytes:
        """Records the look that follows the latest one.

        Raises:
            NotFoundError: MODEL_NOT_FOUND, ROLLOUT_NOT_FOUND.
            FailedPreconditionError: TRANSITION_ILLEGAL, the rollout is not live.
            AbortedError: SEQUENCE_STALE, another look has this number, or the one before it is missing.
        """

        # Read before and apart: a look that read the rollout's row in its own transaction could not be serialized with
        # an action that reads the latest look's number and writes that row, and the action would be the one to wait.
        # The price: one that is on its way while its rollout ends may be recorded all the same. It decides nothing.
        rollout = self._unit_of_work.run(
            lambda tx: with_sequences(tx, [require_rollout(tx, model, number)])[0],
            deadline=deadline,
            read_only=True,
        )

        def act(tx: Transaction, now: float) -> bytes:
            if rollout.state not in LIVE_STATES:
                raise FailedPreconditionError(
                    "TRANSITION_ILLEGAL",
                    f"{rollout.title} is {rollout.state} and takes no looks",
                    state=rollout.state,
                )
            if not tx.looks.record(model, number, look, now):
                raise AbortedError(
                    "SEQUENCE_STALE",
                    f"look {look.sequence} of {rollout.title} does not follow the latest one, which was "
                    f"{rollout.analysis_sequence} a moment ago; read the latest one and look again",
                    analysis_sequence=str(rollout.analysis_sequence),
                )
            return answer

        return self._mutations.run(key, act, deadline=deadline, exclusive=False)

    def page(self, model: str, number: int, after: int, limit: int, *, deadline: float) -> Page[Look]:
        """Looks after a number, oldest first; the latest one has its cursor.

        Raises:
            NotFoundError: MODEL_NOT_FOUND, ROLLOUT_NOT_FOUND.
        """

        def read(tx: Transaction) -> Page[Look]:
            require_rollout(tx, model, number)
            found = tx.looks.page(model, number, after, limit)
            latest = tx.looks.latest(model, number) if found.rows else None
            if latest is None or found.rows[-1].sequence != latest.sequence:
                return found
            return Page([*found.rows[:-1], latest], found.cut_short)

        return self._unit_of_work.run(read, deadline=deadline, read_only=True)

    def latest(self, model: str, number: int, *, deadline: float) -> Look | None:
        """The latest look with its cursor; None: there is none.

        Raises:
            NotFoundError: MODEL_NOT_FOUND, ROLLOUT_NOT_FOUND.
        """

        def read(tx: Transaction) -> Look | None:
            require_rollout(tx, model, number)
            return tx.looks.latest(model, number)

        return self._unit_of_work.run(read, deadline=deadline, read_only=True)
