"""A real Registry on a real database, the Evaluator's real servicer and a small Router, for a synchronous test."""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

import grpc
import numpy as np
from google.protobuf.duration_pb2 import Duration
from grpc import aio

from crossfade.cli.registry_client import request_id
from crossfade.common.v1 import analysis_pb2, model_pb2
from crossfade.connection import USER_KEY
from crossfade.evaluator.v1 import evaluator_pb2_grpc
from crossfade.predict.v1 import predict_pb2, predict_pb2_grpc
from crossfade.registry.v1 import resources_pb2, service_pb2, service_pb2_grpc
from crossfade.router.v1 import router_pb2, router_pb2_grpc
from crossfade.telemetry.v1 import telemetry_pb2_grpc
from evaluator.questions.questions import Questions
from evaluator.rpc.registry_client import RegistryClient
from evaluator.rpc.servicer import EvaluatorServicer
from evaluator.sources.instances import InstanceSource
from evaluator.sources.own_metrics import OwnMetrics
from registry.app import App
from registry.settings import RegistrySettings
from services.common.clock import SystemClock
from services.common.telemetry import catalog, otlp
from services.common.telemetry.bounds import CALL_BOUNDS
from services.common.telemetry.servicer import TelemetryServicer
from services.common.telemetry.store import Snapshot

WORKER: Final = "0f5a6d1e-0000-4000-8000-000000000001"
ROUTER: Final = "0f5a6d1e-0000-4000-8000-000000000002"
LEASE: Final = Duration(seconds=600)
"""It outlives a test, however slow the machine is."""
TOKEN: Final = "prediction-token"  # noqa: S105 - a prediction's id, no password

_Result = TypeVar("_Result")


class _Predictions(predict_pb2_grpc.PredictionServiceServicer):
    """Answers every call with scores that favour the second of three classes, and counts each label once."""

    def __init__(self) -> None:
        self.requests: list[predict_pb2.PredictRequest] = []
        self.metadata: list[dict[str, str]] = []
        self.silent = False
        self._labelled: set[int] = set()

    async def Predict(  # noqa: N802 - the method's name in the contract
        self, request: predict_pb2.PredictRequest, context: "aio.ServicerContext[Any, Any]"
    ) -> predict_pb2.PredictResponse:
        self.requests.append(request)
        self.metadata.append({key: str(value) for key, value in context.invocation_metadata() or ()})
        await self._silence()
        rows = request.inputs[0].shape[0]
        answer = predict_pb2.PredictResponse(model_name=request.model_name, model_version="v1")
        answer.parameters["crossfade_prediction_id"].string_param = TOKEN
        answer.outputs.add(name="output", datatype="FP32", shape=[rows, 3])
        answer.raw_output_contents.append(np.tile(np.array([0.1, 0.8, 0.1], "<f4"), rows).tobytes())
        return answer

    async def PredictStream(  # noqa: N802 - the method's name in the contract
        self, request: predict_pb2.PredictRequest, context: "aio.ServicerContext[Any, Any]"
    ) -> AsyncIterator[predict_pb2.PredictResponse]:
        """So many parts as are asked for, three by default, the last one with the prediction's id."""
        self.requests.append(request)
        self.metadata.append({key: str(value) for key, value in context.invocation_metadata() or ()})
        await self._silence()
        wanted = request.parameters["max_parts"].int64_param or 3
        for number in range(wanted):
            part = predict_pb2.PredictResponse(model_name=request.model_name, model_version="v1")
            if number == wanted - 1:
                part.parameters["crossfade_prediction_id"].string_param = TOKEN
            part.outputs.add(name="character", datatype="INT64", shape=[1, 1])
            part.raw_output_contents.append(np.array([number], "<i8").tobytes())
            yield part

    async def _silence(self) -> None:
        """With `silent` no answer comes, however long the caller waits."""
        if self.silent:
            await asyncio.Event().wait()

    async def Feedback(  # noqa: N802 - the method's name in the contract
        self, request: predict_pb2.FeedbackRequest, context: "aio.ServicerContext[Any, Any]"
    ) -> predict_pb2.FeedbackResponse:
        result = predict_pb2.ObservationResult
        results = []
        for one in request.observations:
            if one.prediction_id != TOKEN:
                results.append(result(status=result.STATUS_REFUSED, reason="the prediction id is not ours"))
            elif one.row in self._labelled:
                results.append(result(status=result.STATUS_DUPLICATE))
            else:
                self._labelled.add(one.row)
                results.append(result(status=result.STATUS_ACCEPTED))
        return predict_pb2.FeedbackResponse(results=results)


class _Routes(router_pb2_grpc.RouterServiceServicer):
    """Always the stable version, but for the first `behind` questions after it was set."""

    def __init__(self) -> None:
        self.behind = 0

    async def ListTraces(  # noqa: N802 - the method's name in the contract
        self, request: router_pb2.ListTracesRequest, context: "aio.ServicerContext[Any, Any]"
    ) -> router_pb2.ListTracesResponse:
        return router_pb2.ListTracesResponse()

    async def NotePairs(  # noqa: N802 - the method's name in the contract
        self, request: router_pb2.NotePairsRequest, context: "aio.ServicerContext[Any, Any]"
    ) -> router_pb2.NotePairsResponse:
        return router_pb2.NotePairsResponse()

    async def GetRoute(  # noqa: N802 - the method's name in the contract
        self, request: router_pb2.GetRouteRequest, context: "aio.ServicerContext[Any, Any]"
    ) -> router_pb2.GetRouteResponse:
        if self.behind:
            self.behind -= 1
            return router_pb2.GetRouteResponse(version="v1", traffic=model_pb2.TRAFFIC_LIVE)
        return router_pb2.GetRouteResponse(
            version="v1",
            traffic=model_pb2.TRAFFIC_LIVE,
            bucket=4_711,
            epoch=3,
            revision=9,
            addresses=["127.0.0.1:9001"],
            reason=f"bucket 4711 of the key {request.key!r} is stable's",
        )


class Stack:
    """The servers, on an event loop in a thread of its own.

    Args:
        database: URL of a migrated database.
        tls: a folder of `crossfade certs dev`; None: a local trial. With it, only the Registry can be reached.
    """

    def __init__(self, database: str, tls: Path | None = None) -> None:
        self.predictions = _Predictions()
        self.routes = _Routes()
        self.database = database
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._calls = 0
        self._serving: tuple[resources_pb2.Serving, ...] = ()
        self.run(self._start(database, tls))
        self._channel = grpc.insecure_channel(self.registry)
        self._stub = service_pb2_grpc.RegistryServiceStub(self._channel)

    async def _start(self, database: str, tls: Path | None) -> None:
        settings = RegistrySettings(
            listen="127.0.0.1:0",
            database=database,
            drain_seconds=0.1,
            log_level="error",
            readiness_debounce_seconds=0,
            tls_certificate=tls and tls / "registry.pem",
            tls_key=tls and tls / "registry.key",
            tls_ca=tls and tls / "ca.pem",
        )
        self._app = App(settings)
        await self._app.start()
        self._other = aio.server(options=(("grpc.so_reuseport", 0),))
        predict_pb2_grpc.add_PredictionServiceServicer_to_server(self.predictions, self._other)
        router_pb2_grpc.add_RouterServiceServicer_to_server(self.routes, self._other)
        evaluator_pb2_grpc.add_EvaluatorServiceServicer_to_server(EvaluatorServicer(self._questions()), self._other)
        telemetry = TelemetryServicer(otlp.Resource("crossfade-router", ROUTER, 0), self._snapshots)
        telemetry_pb2_grpc.add_TelemetryServiceServicer_to_server(telemetry, self._other)
        port = self._other.add_insecure_port("127.0.0.1:0")
        await self._other.start()
        self.registry = self._app.address
        self.router = self.evaluator = f"127.0.0.1:{port}"

    def _questions(self) -> Questions:
        self._evaluator_channel = aio.insecure_channel(self._app.address)
        client = RegistryClient(self._evaluator_channel, lambda: ((USER_KEY, "evaluator"),), 5.0)
        source = InstanceSource(aio.insecure_channel, SystemClock(), ((USER_KEY, "evaluator"),))
        return Questions(client, OwnMetrics(source, None, SystemClock()))

    async def _snapshots(self, model: str = "") -> list[Snapshot]:
        """Each reading has 50 calls more than the one before, of every model, all within a millisecond."""
        del model
        self._calls += 50
        counts = (self._calls, *[0] * len(CALL_BOUNDS))
        models = {one.model for one in self._serving}
        return [
            Snapshot(metric, (model, "v1", "live", "", "ok", *more), counts, 1.0)
            for model in models
            for metric, more in ((catalog.ROUTE_DURATION, ()), (catalog.ATTEMPT_DURATION, ("1",)))
        ]

    def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Runs work on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def has(self, model: str, version: str) -> bool:
        """Whether the version has been published."""
        try:
            self._stub.GetVersion(service_pb2.GetVersionRequest(name=f"models/{model}/versions/{version}"))
        except grpc.RpcError:
            return False
        return True

    def ledger(self, model: str) -> tuple[resources_pb2.Model, list[resources_pb2.Event]]:
        """A model and its events, newest first."""
        name = f"models/{model}"
        events = self._stub.ListEvents(service_pb2.ListEventsRequest(parent=name, page_size=1000)).events
        return self._stub.GetModel(service_pb2.GetModelRequest(name=name)), list(events)

    def look(self, rollout: str, summary: analysis_pb2.Summary | None = None) -> None:
        """Records a first look at a rollout, and what it concludes; None: nothing."""
        analysis = analysis_pb2.Analysis(rollout=rollout, sequence=1, epoch=1, summary=summary)
        self._stub.RecordAnalysis(service_pb2.RecordAnalysisRequest(analysis=analysis, request_id=request_id()))

    def report(self, model: str, *versions: str) -> None:
        """A Worker that has these versions of a model ready, LIVE and CONTROL; and the Router."""
        self._serving = tuple(
            resources_pb2.Serving(
                model=model,
                version=version,
                traffic=traffic,
                address=f"127.0.0.1:{9_000 + traffic}",
                state=resources_pb2.SERVING_STATE_READY,
                load_report=resources_pb2.LoadReport(
                    device="cpu", precision="fp32", load_seconds=1.5, full_seconds=0.0003, golden_error=0.01
                ),
            )
            for version in versions
            for traffic in (model_pb2.TRAFFIC_LIVE, model_pb2.TRAFFIC_CONTROL)
        )
        worker = resources_pb2.Instance(
            instance_id=WORKER,
            kind=resources_pb2.INSTANCE_KIND_WORKER,
            address="127.0.0.1:8600",
            serving=self._serving,
        )
        self._stub.ReportInstance(service_pb2.ReportInstanceRequest(instance=worker, ttl=LEASE))
        self.report_router(self.router)

    def report_router(self, address: str) -> None:
        """The Router, at an address."""
        router = resources_pb2.Instance(instance_id=ROUTER, kind=resources_pb2.INSTANCE_KIND_ROUTER, address=address)
        self._stub.ReportInstance(service_pb2.ReportInstanceRequest(instance=router, ttl=LEASE))

    def close(self) -> None:
        """Ends everything."""
        self._channel.close()
        self.run(self._other.stop(None))
        self.run(self._evaluator_channel.close())
        self.run(self._app.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
