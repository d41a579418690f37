"""WatchRoutesResponse, put together from lanes that are serialized already.

The generated class would parse them, or copy them, and serialize all anew: of 200 lanes with a thousand classes each
that takes 0.3 s in one piece, in which no other thread runs.
"""

from collections.abc import Iterable
from typing import Final

from crossfade.registry.v1 import service_pb2
from services.common.varint import varint

_LANES: Final = bytes([service_pb2.WatchRoutesResponse.LANES_FIELD_NUMBER << 3 | 2])
"""What stands before each lane's length (Protocol Buffers, "Encoding")."""


def route_message(
    lanes: Iterable[bytes], *, revision: int, mark: str = "", snapshot: bool = False, more: bool = False
) -> bytes:
    """The bytes that the generated class writes.

    Args:
        lanes: serialized crossfade.registry.v1.LaneRoutes.
        revision: as in the message, and so are the others.
        mark: tells the revision from another one of the same number.
        snapshot: these are all lanes, or the first part of them.
        more: the next message has more of them.
    """
    # In the order of the fields' numbers, of which the lanes have the third.
    begin = service_pb2.WatchRoutesResponse(revision=revision, snapshot=snapshot)
    end = service_pb2.WatchRoutesResponse(more=more, mark=mark)
    pieces = (piece for lane in lanes for piece in (_LANES, varint(len(lane)), lane))
    return b"".join((begin.SerializeToString(), *pieces, end.SerializeToString()))
