"""What every RPC needs: who calls, for how long they wait, and a thread for the database."""

import hashlib
from typing import Any, Final

from google.protobuf.message import Message
from grpc import aio

from registry.converters import pack
from registry.offload import Offload
from registry.ports import RequestKey
from registry.servicer import validation
from services.common.clock import Clock
from services.common.guard import current_principal

Context = aio.ServicerContext[Any, Any]

_LONGEST_SECONDS: Final = 30.0


class Calls:
    """Turns a call's circumstances into what use cases take.

    Args:
        clock: measures deadlines.
        offload: runs use cases.
    """

    def __init__(self, clock: Clock, offload: Offload) -> None:
        self._clock = clock
        self.run = offload.call

    def deadline(self, context: Context) -> float:
        """When the caller stops waiting, on the clock's monotonic scale; 30 s from now at the latest."""
        remaining = context.time_remaining()
        return self._clock.monotonic() + min(_LONGEST_SECONDS if remaining is None else remaining, _LONGEST_SECONDS)

    @staticmethod
    def key(rpc: str, request: Message, request_id: str) -> RequestKey:
        """What makes this mutation the same one.

        Raises:
            InvalidArgumentError: REQUEST_ID_MISSING, FIELD_INVALID.
        """
        checked = validation.request_id(request_id)
        return RequestKey(current_principal().name, rpc, checked, hashlib.sha256(pack(request)).hexdigest())
