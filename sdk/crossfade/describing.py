"""What a model is, by the Open Inference Protocol's ModelMetadata."""

from typing import Any, Final

from crossfade.predict.v1 import predict_pb2

_METHOD: Final = "/inference.GRPCInferenceService/ModelMetadata"


def model_metadata(channel: Any) -> Any:
    """The method of a channel, whether its calls block or are awaited."""
    return channel.unary_unary(
        _METHOD,
        request_serializer=predict_pb2.ModelMetadataRequest.SerializeToString,
        response_deserializer=predict_pb2.ModelMetadataResponse.FromString,
    )
