"""Whatever is sent to the services, it is the sender's mistake that is told, and all of them go on."""

import contextlib
import json
import uuid
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
import psutil
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from grpc import aio

from crossfade.common.v1 import analysis_pb2
from crossfade.evaluator.v1 import evaluator_pb2
from crossfade.policy_file import parse_policy
from crossfade.predict.v1 import predict_pb2
from crossfade.publishing import version_of
from crossfade.registry.v1 import resources_pb2, service_pb2
from crossfade.router.v1 import router_pb2
from tests.e2e.conftest import QUICK, House
from tests.support.random_messages import Mistakes

MESSAGES: Final = 700
SEED: Final = 20_261_128
POLICY: Final = QUICK.replace("2m", "3h") + "  - {metric: accuracy}\n  - {metric: input_drift}\n"
HEADERS: Final = ("segment", "version", "key", "epoch", "traffic", "caller", "user")
VALUES: Final = ("", "x", "99999999999999999999", "-1", "eu", "v1", "a" * 3_000)
DEFECTS: Final = frozenset(
    {
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""What no sender's mistake may lead to."""

Metadata = tuple[tuple[str, str], ...]


class Sender:
    """Makes valid requests of all services as the Registry's state is at the moment.

    Args:
        house: the suite.
        token: the id of a prediction.
        worker: address of a version's process.
    """

    def __init__(self, house: House, token: str, worker: str) -> None:
        document = parse_policy(POLICY)
        self._house = house
        self._token = token
        self._plan, self._policy = document.plan, document.policy
        self.model = resources_pb2.Model()
        self.rollout = resources_pb2.Rollout(name="models/sign/rollouts/1")
        self.look = analysis_pb2.Analysis()
        addresses = {name: house.ports.address(name) for name in ("registry", "router", "evaluator")} | {
            "worker": worker
        }
        self.channels = {name: grpc.aio.insecure_channel(address) for name, address in addresses.items()}

    async def refresh(self) -> None:
        """Reads what requests rest on."""
        registry = self._house.registry
        self.model = await registry.GetModel(service_pb2.GetModelRequest(name="models/sign"))
        listed = await registry.ListRollouts(service_pb2.ListRolloutsRequest(parent="models/sign", page_size=1))
        self.rollout = listed.rollouts[0]
        request = service_pb2.ListAnalysesRequest(parent=self.rollout.name, latest_only=True)
        looks = (await registry.ListAnalyses(request)).analyses
        self.look = looks[-1] if looks else self.look

    async def send(
        self, to: str, method: str, body: bytes, metadata: tuple[tuple[str, str], ...]
    ) -> aio.AioRpcError | None:
        """Sends bytes; answers how they were refused."""
        call: aio.UnaryUnaryMultiCallable[bytes, bytes] = self.channels[to].unary_unary(method)
        try:
            await call(body, timeout=20, metadata=metadata)
        except aio.AioRpcError as error:
            return error
        return None

    def requests(self) -> list[tuple[str, str, Message]]:
        """To whom, the method's full name, and a request that can be answered."""
        ours, name, etag = "/crossfade.registry.v1.RegistryService/", self.rollout.name, self.rollout.etag
        lane = self.model.lanes[-1]
        spec = service_pb2.RolloutSpec(plan=self._plan, policy=self._policy)
        act: dict[str, Any] = {"name": name, "etag": etag, "request_id": _new()}
        outcome = resources_pb2.Outcome(reason="r", code="X", gate="errors", summary=self.look.summary)
        version = resources_pb2.Version()
        version.CopyFrom(version_of(self._house.artifacts["v2"]))
        on_lane: dict[str, Any] = {"segment": lane.segment, "etag": lane.etag, "request_id": _new(), "reason": "r"}
        service = service_pb2
        registry: dict[str, Message] = {
            "CreateModel": service.CreateModelRequest(model_id="other", request_id=_new()),
            "GetModel": service.GetModelRequest(name="models/sign"),
            "UpdateModel": service.UpdateModelRequest(model=self.model, request_id=_new()),
            "SetSegment": service.SetSegmentRequest(
                model="models/sign", segment="eu", version="v1", etag=self.model.etag, request_id=_new()
            ),
            "DeleteSegment": service.DeleteSegmentRequest(model="models/sign", **on_lane),
            "PublishVersion": service.PublishVersionRequest(
                parent="models/sign", version=version, rollout=spec, without_rollout=True, request_id=_new()
            ),
            "StartRollout": service.StartRolloutRequest(
                version="models/sign/versions/v2", rollout=spec, etag=lane.etag, request_id=_new()
            ),
            "UndoLane": service.UndoLaneRequest(model="models/sign", version="v1", **on_lane),
            "WithdrawVersion": service.WithdrawVersionRequest(name="models/sign/versions/v3", **on_lane),
            "ListVersions": service.ListVersionsRequest(parent="models/sign", page_size=2),
            "ListRollouts": service.ListRolloutsRequest(parent="models/-", page_size=2),
            "ListEvents": service.ListEventsRequest(parent="models/sign", page_size=3),
            "ListAnalyses": service.ListAnalysesRequest(parent=name, page_size=3),
            "PauseRollout": service.PauseRolloutRequest(reason="r", **act),
            "ResumeRollout": service.ResumeRolloutRequest(reason="r", **act),
            "AdvanceRollout": service.AdvanceRolloutRequest(reason="r", outcome=outcome, **act),
            "PromoteRollout": service.PromoteRolloutRequest(outcome=outcome, **act),
            "RollbackRollout": service.RollbackRolloutRequest(outcome=outcome, **act),
            "CancelRollout": service.CancelRolloutRequest(outcome=outcome, **act),
            # Of a look that is recorded already: the next one would be the evidence that an Evaluator goes on from.
            "RecordAnalysis": service.RecordAnalysisRequest(analysis=self.look, request_id=_new()),
            "SetMonitor": service.SetMonitorRequest(model="models/sign", reason="r", request_id=_new()),
        }
        found = [("registry", ours + method, request) for method, request in registry.items()]
        plan, policy = self._plan, self._policy
        judge = "/crossfade.evaluator.v1.EvaluatorService/"
        found += [
            ("evaluator", judge + "CheckPolicy", evaluator_pb2.CheckPolicyRequest(policy=policy, plan=plan)),
            ("evaluator", judge + "Replay", evaluator_pb2.ReplayRequest(name=name, policy=policy, plan=plan)),
            (
                "evaluator",
                judge + "Forecast",
                evaluator_pb2.ForecastRequest(model="models/sign", policy=policy, plan=plan, watch=Duration(seconds=1)),
            ),
            ("router", "/crossfade.router.v1.RouterService/GetRoute", router_pb2.GetRouteRequest(model="sign")),
            ("router", "/crossfade.predict.v1.PredictionService/Feedback", self._feedback()),
        ]
        for to in ("router", "worker"):
            found.append((to, "/crossfade.predict.v1.PredictionService/Predict", _predict()))
            found.append((to, "/inference.GRPCInferenceService/ModelInfer", _predict()))
        return found

    def _feedback(self) -> predict_pb2.FeedbackRequest:
        said = predict_pb2.Observation(prediction_id=self._token, row=0, label="yes")
        return predict_pb2.FeedbackRequest(observations=[said])

    async def close(self) -> None:
        """Closes the channels."""
        for channel in self.channels.values():
            await channel.close()


def _new() -> str:
    return str(uuid.uuid4())


def _predict() -> predict_pb2.PredictRequest:
    message = predict_pb2.PredictRequest(model_name="sign")
    message.inputs.add(name="input", datatype="FP32", shape=[2, 4])
    message.raw_input_contents.append(np.ones((2, 4), np.float32).tobytes())
    return message


@pytest.mark.timeout(400)
async def test_no_message_is_more_than_its_senders_mistake(house: House, tmp_path: Path) -> None:
    await house.publish("v2", policy=POLICY)
    answer = await house.client.predict("sign", np.ones((1, 4), np.float32))
    instances = await house.registry.ListInstances(service_pb2.ListInstancesRequest())
    worker = next(one.address for instance in instances.instances for one in instance.serving if one.address)
    sender, mistakes = Sender(house, answer.prediction_id, worker), Mistakes(SEED)
    wrong: list[str] = []
    for number in range(MESSAGES):
        if number % 20 == 0:
            await sender.refresh()
        to, method, request = mistakes.draw.choice(sender.requests())
        message = mistakes.made_in(request)
        with contextlib.suppress(UnicodeEncodeError):
            metadata: Metadata = ()
            if mistakes.draw.random() < 0.2:
                metadata = ((f"x-crossfade-{mistakes.draw.choice(HEADERS)}", mistakes.draw.choice(VALUES)),)
            elif mistakes.draw.random() < 0.05:
                metadata = (("traceparent", "0" * 5_000),)
            error = await sender.send(to, method, mistakes.spoilt(message.SerializeToString()), metadata)
            if error is not None and error.code() in DEFECTS:
                wrong.append(f"{to} {method} {error.code().name} {error.details()}: {str(message)[:2_000]}")
    await sender.close()
    assert wrong == []
    for name, process in house.stack.processes.items():
        assert psutil.pid_exists(process.pid), name
    assert _errors(tmp_path / "data" / "logs") == []
    assert (await house.client.predict("sign", np.ones((1, 4), np.float32))).version


def _errors(logs: Path) -> list[str]:
    """What the services have logged as failures."""
    lines = [line for file in logs.glob("*.log") for line in file.read_text().splitlines() if line]
    return [line for line in lines if not line.startswith("{") or json.loads(line)["level"] in ("error", "critical")]
