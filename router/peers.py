"""The other Routers: found through the Registry, asked for feedback that is theirs."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from math import inf
from typing import Any

import grpc
import structlog
from grpc import aio

from crossfade import metadata as keys
from crossfade.predict.v1 import predict_pb2, predict_pb2_grpc
from crossfade.registry.v1 import resources_pb2, service_pb2, service_pb2_grpc
from router.feedback import owner
from services.common import feedback_rpc
from services.common.channels import Channels
from services.common.feedback import FeedbackBook
from services.common.prediction_token import TokenError
from services.common.rarely import Rarely

_LOOK_SECONDS = 5.0
FORWARD_SECONDS = 2.0
"""Time of a call to another Router."""
_SHARE_OF_TIME_LEFT = 0.5
"""Of the caller's time, that such a call has at most: what it asked in vain is counted here while the caller waits."""
_HANGS_SECONDS = 0.5
"""A Router that gives no answer for so long hangs; callers with less time may well mean it."""
_PASSED_SECONDS = 5.0
"""How long nobody waits for one that hangs. Then one call asks it again, and the others go on without it."""
_CLOSE_SECONDS = FORWARD_SECONDS + 1.0
"""Longer than any call: one that its channel's end cancels looks to its caller as if that one were cancelled."""


class Peers:
    """Hands observations to the Routers that own them.

    Args:
        instance_id: this Router.
        registry: channel to the Registry.
        book: where this Router's own observations are counted.
        channels: how to reach other Routers.
        log: gets a line a minute while another Router cannot be reached.
        now: seconds that never run backwards.
    """

    def __init__(
        self,
        instance_id: str,
        registry: aio.Channel,
        book: FeedbackBook,
        channels: Channels,
        log: structlog.typing.FilteringBoundLogger,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._me = instance_id
        self._registry = service_pb2_grpc.RegistryServiceStub(registry)
        self._book = book
        self._open = channels.open
        self._log = log
        self._now = now
        self._lines = Rarely()
        self._addresses: dict[str, str] = {}
        self._channels: dict[str, aio.Channel] = {}
        self._passed_until: dict[str, float] = {}

    @property
    def known(self) -> int:
        """How many other Routers there are."""
        return len(self._addresses)

    async def run(self) -> None:
        """Keeps the list of Routers fresh until it is cancelled."""
        request = service_pb2.ListInstancesRequest(kind=resources_pb2.INSTANCE_KIND_ROUTER, page_size=1000)
        while True:
            try:
                answer = await self._registry.ListInstances(request, timeout=_LOOK_SECONDS)
            except aio.AioRpcError:
                # The Routers known stay known: their labels must not change hands because the Registry is away.
                pass
            else:
                await self.use({one.instance_id: one.address for one in answer.instances})
            await asyncio.sleep(_LOOK_SECONDS)

    async def use(self, addresses: dict[str, str]) -> None:
        """Takes over which Routers there are, by instance id; returns when calls to those that have gone have ended."""
        self._addresses = {instance: address for instance, address in addresses.items() if instance != self._me}
        self._passed_until = {
            address: until for address, until in self._passed_until.items() if address in self._addresses.values()
        }
        for address in [known for known in self._channels if known not in self._addresses.values()]:
            # Whoever forwards over it at this moment may end.
            await self._channels.pop(address).close(grace=_CLOSE_SECONDS)

    async def observe(
        self, request: predict_pb2.FeedbackRequest, *, forwarded: bool, seconds: float = inf
    ) -> predict_pb2.FeedbackResponse:
        """Counts a request's observations, here or where they belong; results come in the request's order.

        Args:
            request: the observations.
            forwarded: another Router has handed them on to this one.
            seconds: that the caller waits.
        """
        feedback_rpc.check(request)
        if forwarded or not self._addresses:
            return feedback_rpc.answer(self._book, request)
        # The list of Routers may change while others answer: addresses are taken before.
        by_owner: defaultdict[str, list[int]] = defaultdict(list)
        for number, observation in enumerate(request.observations):
            by_owner[self.address_of(observation.prediction_id)].append(number)
        results: list[predict_pb2.ObservationResult] = [predict_pb2.ObservationResult()] * len(request.observations)

        async def answer_of(address: str, numbers: list[int]) -> predict_pb2.FeedbackResponse:
            observations = [request.observations[number] for number in numbers]
            part = predict_pb2.FeedbackRequest(observations=observations)
            return await self._answer(address, part, min(FORWARD_SECONDS, _SHARE_OF_TIME_LEFT * seconds))

        # At once: callers wait for one that hangs, and not for each.
        answers = await asyncio.gather(*(answer_of(address, numbers) for address, numbers in by_owner.items()))
        for numbers, answer in zip(by_owner.values(), answers, strict=True):
            for number, result in zip(numbers, answer.results, strict=True):
                results[number] = result
        return predict_pb2.FeedbackResponse(results=results)

    def address_of(self, prediction_id: str) -> str:
        """The address of the Router that keeps a prediction's labels; empty: this one does."""
        return self._addresses.get(self._owner(prediction_id), "") if self._addresses else ""

    def channel(self, address: str) -> aio.Channel:
        """The channel to another Router.

        Raises:
            OSError, ValueError: it cannot be opened now, as while certificates are being replaced.
        """
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = self._open(address)
        return channel

    def _owner(self, prediction_id: str) -> str:
        try:
            nonce = self._book.nonce(prediction_id)
        except TokenError:
            # This Router's book says what is wrong with it.
            return self._me
        return owner(nonce, (self._me, *self._addresses))

    async def _answer(
        self, address: str, part: predict_pb2.FeedbackRequest, seconds: float
    ) -> predict_pb2.FeedbackResponse:
        """The answer of the Router at an address, for which so long is waited; empty: this one."""
        if not address or self._passes(address):
            return feedback_rpc.answer(self._book, part)
        try:
            stub: Any = predict_pb2_grpc.PredictionServiceStub(self.channel(address))
        except (OSError, ValueError) as error:
            self._say("feedback counted here, for no channel to its Router", address, reason=str(error))
            return feedback_rpc.answer(self._book, part)
        call = stub.Feedback(part, timeout=seconds, metadata=((keys.FORWARDED, "1"),))
        try:
            answer: predict_pb2.FeedbackResponse = await call
        except aio.AioRpcError as error:
            # A label counted at the wrong Router may count twice; one that is dropped is lost for good.
            self._say("feedback counted here, its Router is away", address, code=error.code().name)
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and seconds >= _HANGS_SECONDS:
                self._passed_until[address] = self._now() + _PASSED_SECONDS
            return feedback_rpc.answer(self._book, part)
        finally:
            call.cancel()
        self._passed_until.pop(address, None)
        return answer

    def _passes(self, address: str) -> bool:
        """Whether a Router hangs, so that it is not asked; the first call after a while asks it all the same."""
        until = self._passed_until.get(address)
        if until is None:
            return False
        now = self._now()
        if now < until:
            return True
        self._passed_until[address] = now + _PASSED_SECONDS
        return False

    def _say(self, event: str, address: str, **more: str) -> None:
        """Once a minute for each Router: while the Registry is away too, one that is gone stays among those known."""
        not_logged = self._lines.due((event, address))
        if not_logged is not None:
            self._log.warning(event, peer=address, not_logged=not_logged, **more)

    async def close(self) -> None:
        """Closes the channels to other Routers."""
        for channel in self._channels.values():
            await channel.close()
