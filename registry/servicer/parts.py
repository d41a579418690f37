"""What a watch is sent: a revision's changes as one message, or in parts where one would be too large."""

from collections.abc import Iterator

from crossfade.registry.v1 import resources_pb2, service_pb2
from registry.ports import Position
from registry.sizes import fitting
from registry.watch_hub import Batch


def parts(batch: Batch, before: Position) -> Iterator[service_pb2.WatchRoutesResponse]:
    """The messages of a batch, in order.

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
        yield service_pb2.WatchRoutesResponse(
            revision=position.revision,
            mark=position.mark,
            snapshot=batch.snapshot and not sent,
            lanes=[resources_pb2.LaneRoutes.FromString(payload) for payload in taken],
            more=more,
        )
        if not more:
            return
        sent += len(taken)
