"""RPCs of webhooks."""

from functools import partial

import structlog

from crossfade.registry.v1 import resources_pb2, service_pb2, service_pb2_grpc
from registry.service.webhooks import WebhookService
from registry.servicer import answers, validation
from registry.servicer.calls import Calls, Context
from services.common.guard import current_principal

# Methods are named as in the contract.
# ruff: noqa: N802


class WebhookServicer(service_pb2_grpc.RegistryServiceServicer):
    """Webhooks, and what they have yet to be told."""

    def __init__(self, calls: Calls, webhooks: WebhookService, log: structlog.typing.FilteringBoundLogger) -> None:
        self._calls = calls
        self._webhooks = webhooks
        self._log = log

    async def ListWebhooks(
        self, request: service_pb2.ListWebhooksRequest, context: Context
    ) -> service_pb2.ListWebhooksResponse:
        """The webhooks, and what each has yet to be told."""
        del request
        found = await self._calls.run(partial(self._webhooks.all, deadline=self._calls.deadline(context)))
        return service_pb2.ListWebhooksResponse(webhooks=[answers.webhook(view) for view in found])

    async def RetryWebhook(self, request: service_pb2.RetryWebhookRequest, context: Context) -> resources_pb2.Webhook:
        """Has what a webhook has yet to be told tried soon."""
        name = validation.identifier("name", request.name)
        view = await self._calls.run(partial(self._webhooks.retry, name, deadline=self._calls.deadline(context)))
        return answers.webhook(view)

    async def DropDeliveries(
        self, request: service_pb2.DropDeliveriesRequest, context: Context
    ) -> service_pb2.DropDeliveriesResponse:
        """Forgets what a webhook has yet to be told."""
        name = validation.identifier("webhook", request.webhook)
        model = validation.model_name("model", request.model) if request.model else ""
        before = validation.time("before", request.before) if request.HasField("before") else None
        deadline = self._calls.deadline(context)
        dropped = await self._calls.run(partial(self._webhooks.drop, name, model, before, deadline=deadline))
        # No event of the audit log tells it, in which all that was to be told stands.
        self._log.warning(
            "deliveries were dropped",
            webhook=name,
            model=model,
            events=dropped.events,
            principal=current_principal().name,
        )
        return service_pb2.DropDeliveriesResponse(dropped=dropped.events, more=dropped.more)
