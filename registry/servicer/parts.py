"""What a watch is sent: a revision's changes as one message, or in parts where one would be too large.

Its lanes stay the bytes that they are: to parse them would keep the loop by which changes of the routes go out, and
for each watch anew.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence

from registry.remembered_changes import Batch
from registry.repositories import Position
from registry.sizes import fitting
from services.common.route_message import route_message

_BEGINNING = Position(0)


def parts(batch: Batch, before: Position) -> Iterator[bytes]:
    """The messages of a batch, in order: serialized crossfade.registry.v1.WatchRoutesResponse.

    Args:
        batch: changes of one revision.
        before: where the watch stood. The parts before the last say that it still does: a Router or Worker of a release
            that knows no parts, and is cut off between two, then goes on from there, too.
    """
    sent = 0
    while True:
        taken = fitting(batch.lanes[sent:], len)
        more = sent + len(taken) < len(batch.lanes)
        position = before if more else batch.position
        yield route_message(
            taken,
            revision=position.revision,
            mark=position.mark,
            snapshot=batch.snapshot and not sent,
            more=more,
        )
        if not more:
            return
        sent += len(taken)


class Snapshots:
    """What watches that begin are sent: the same messages for all that begin at one revision.

    A snapshot is the largest message there is, and grpc writes it on the loop by which changes of the routes go out. A
    thousand Routers may begin at once, and anybody may begin again and again. So they take turns: between two of
    their messages the loop does all else that it has to do.
    """

    def __init__(self) -> None:
        self._of = Batch(_BEGINNING, snapshot=True, lanes=())
        self._messages: Sequence[bytes] = ()
        self._turn = asyncio.Lock()

    async def messages(self, batch: Batch) -> AsyncIterator[bytes]:
        """The messages of a snapshot, in order."""
        known = batch.position == self._of.position and batch.lanes is self._of.lanes
        if not self._messages or not known:
            self._of, self._messages = batch, tuple(parts(batch, _BEGINNING))
        for message in self._messages:
            async with self._turn:
                await asyncio.sleep(0)
            yield message
