"""The Open Inference Protocol's descriptors under its own names, for reflection: they have no stubs here.

Its messages are those of crossfade.predict.v1 by other names. They are put into a pool of their own, as those of its
other clients (tritonclient's) may be in the process's.
"""

from typing import Final

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from crossfade.predict.v1 import predict_pb2
from services.common.moved_descriptors import moved

PACKAGE: Final = "inference"
SERVICE: Final = f"{PACKAGE}.GRPCInferenceService"
FILE: Final = "open_inference_grpc.proto"

_NAMES: Final = {"PredictRequest": "ModelInferRequest", "PredictResponse": "ModelInferResponse"}
_METHODS: Final = ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer")
_STREAM: Final = "ModelStreamInfer"
_OURS: Final = frozenset({"Observation", "FeedbackRequest", "ObservationResult", "FeedbackResponse"})
"""What the protocol does not have."""


def described() -> FileDescriptorProto:
    """The file with the protocol's service and messages."""
    ours = FileDescriptorProto()
    predict_pb2.DESCRIPTOR.CopyToProto(ours)
    del ours.service[:]
    kept = [message for message in ours.message_type if message.name not in _OURS]
    del ours.message_type[:]
    ours.message_type.extend(kept)
    theirs = moved(ours, PACKAGE, FILE, _NAMES)
    service = theirs.service.add(name=SERVICE.removeprefix(f"{PACKAGE}."))
    for name in (*_METHODS, _STREAM):
        method = service.method.add(
            name=name,
            input_type=f".{PACKAGE}.{'ModelInfer' if name == _STREAM else name}Request",
            output_type=f".{PACKAGE}.{name}Response",
        )
        if name == _STREAM:
            method.client_streaming = method.server_streaming = True
    return theirs
