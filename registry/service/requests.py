"""Mutations that are carried out once, however often they are asked for."""

from collections.abc import Callable

from registry.ports import DoneBefore, Stale, Transaction, UnitOfWork
from registry.repositories import RequestKey
from services.common.clock import Clock, recordable
from services.common.errors import AbortedError, CrossfadeError, InvalidArgumentError

Act = Callable[[Transaction, float], bytes]
"""Carries a mutation out, given the transaction and the time (seconds since 1970, whole microseconds), and answers the
serialized answer."""


class _DoneBeforeError(CrossfadeError):
    """An answer under this request's id is stored already."""


class Mutations:
    """Runs mutations and keeps their answers in the same transaction.

    The key of the stored answer makes a mutation happen once. The answer is looked for only when that key is taken or
    the mutation is refused, and in a transaction of its own: a mutation that read the table of answers would conflict
    with every other that writes to the same page of its index.

    Args:
        unit_of_work: runs the transactions.
        clock: the time that is written down.
    """

    def __init__(self, unit_of_work: UnitOfWork, clock: Clock) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock

    def run(
        self,
        key: RequestKey,
        act: Act,
        *,
        deadline: float,
        before: Callable[[], None] = lambda: None,
        exclusive: bool = True,
    ) -> bytes:
        """The serialized answer: of `act`, or the one stored for the same request.

        Args:
            key: what makes it the same one.
            act: carries it out.
            deadline: on the clock's monotonic scale.
            before: what is to be read, or refused, before its transaction.
            exclusive: it changes lanes, so it takes its turn.

        A COMMIT whose outcome stayed unknown is found out by running again: if it was carried out, the key is taken.

        Raises:
            InvalidArgumentError: REQUEST_ID_REUSED.
            AbortedError: ETAG_STALE, a compare-and-set found a change; CONTENTION, the stored answer was forgotten at
                the same moment.
        """

        def work(tx: Transaction) -> bytes:
            now = recordable(self._clock.now())
            try:
                payload = act(tx, now)
                tx.requests.put(key, payload, now)
                tx.flush()
            except Stale as error:
                raise AbortedError(
                    "ETAG_STALE", "somebody changed it at the same moment; read it again and decide again"
                ) from error
            except DoneBefore as error:
                raise _DoneBeforeError("REQUEST_ID_REUSED", key.request_id) from error
            return payload

        try:
            before()
            return self._unit_of_work.run(work, deadline=deadline, exclusive=exclusive)
        except CrossfadeError as error:
            stored = self._unit_of_work.ask(lambda tx: tx.requests.find(key), deadline=deadline)
            if stored is None:
                if isinstance(error, _DoneBeforeError):
                    raise AbortedError(
                        "CONTENTION",
                        f"request_id {key.request_id} was carried out before, and its answer was forgotten at this "
                        "moment, for its age; read the state, and ask anew if it is still wanted",
                    ) from error
                raise
            if stored.digest != key.digest:
                raise InvalidArgumentError(
                    "REQUEST_ID_REUSED",
                    f"request_id {key.request_id} was used for another {key.rpc}, or for this one with another etag; "
                    "repeat a request as it was, with the etag that it rested on, and make a new UUID for a new one",
                    field="request_id",
                ) from None
            return stored.payload
