"""Answers of the Open Inference Protocol: arrays to a response's bytes."""

from collections.abc import Sequence
from typing import Final

from crossfade.manifest import Signature
from crossfade.metadata import FINAL_RESPONSE, PREDICTION_ID
from crossfade.predict.v1 import predict_pb2
from services.common.errors import InvalidArgumentError
from services.common.varint import varint
from services.worker.tensors import Array

# Tags of length-delimited fields (protobuf encoding, "Message Structure"): number * 8 + 2.
_ID: Final = b"\x1a"
_PARAMETERS: Final = b"\x22"
_MAP_VALUE: Final = b"\x12"
_STRING_PARAM: Final = b"\x1a"
_RAW_OUTPUT: Final = b"\x32"


def _marked(last: bool) -> bytes:
    message = predict_pb2.PredictResponse()
    message.parameters[FINAL_RESPONSE].bool_param = last
    return message.SerializeToString()


_LAST: Final = {last: _marked(last) for last in (False, True)}


class OutputWriter:
    """Writes the answers of one version.

    What does not change between answers is serialized once per number of rows: serialized messages that follow one
    another read as one (protobuf encoding, "Last One Wins", merging of repeated fields).
    """

    _KEPT_HEADS = 256
    _PREDICTION_KEY: Final = b"\x0a" + bytes((len(PREDICTION_ID),)) + PREDICTION_ID.encode()

    def __init__(self, model: str, version: str, signature: Signature) -> None:
        self._model = model
        self._version = version
        self._specs = signature.outputs
        self._index = {spec.name: i for i, spec in enumerate(signature.outputs)}
        self._all = tuple(range(len(signature.outputs)))
        self._heads: dict[tuple[int, tuple[int, ...]], bytes] = {}
        self._before_ids: dict[int, bytes] = {}

    def wanted(self, request: predict_pb2.PredictRequest) -> tuple[int, ...]:
        """Positions of the outputs that the request asks for, in its order; all when it names none.

        Raises:
            InvalidArgumentError: OUTPUT_UNKNOWN.
        """
        if not request.outputs:
            return self._all
        chosen = []
        for position, output in enumerate(request.outputs):
            index = self._index.get(output.name)
            if index is None:
                raise InvalidArgumentError(
                    "OUTPUT_UNKNOWN",
                    f"the model has no output {output.name!r}; its outputs are {', '.join(self._index)}",
                    field=f"outputs[{position}].name",
                )
            chosen.append(index)
        return tuple(chosen)

    def write(
        self,
        rows: int,
        wanted: tuple[int, ...],
        outputs: Sequence[Array],
        request_id: str = "",
        prediction_id: str = "",
        last: bool | None = None,
    ) -> bytes:
        """A serialized answer.

        Args:
            rows: rows of each output.
            wanted: positions of the outputs to send.
            outputs: all outputs, in the signature's order.
            request_id: the caller's, echoed.
            prediction_id: the token that Feedback takes; empty: none.
            last: whether it is the last part of a stream; None: it is no part of one.
        """
        parts = [self._head(rows, wanted)]
        if request_id:
            parts.append(_field(_ID, request_id.encode()))
        if prediction_id:
            parts.extend((self._before_id(len(prediction_id)), prediction_id.encode()))
        if last is not None:
            parts.append(_LAST[last])
        for index in wanted:
            data = outputs[index].tobytes()
            parts.extend((_RAW_OUTPUT, varint(len(data)), data))
        return b"".join(parts)

    def _before_id(self, length: int) -> bytes:
        """What comes before a prediction id of this length: it is the last thing in its field."""
        found = self._before_ids.get(length)
        if found is None:
            empty = b"\0" * length
            parameter = _field(_STRING_PARAM, empty)
            field = _field(_PARAMETERS, self._PREDICTION_KEY + _field(_MAP_VALUE, parameter))
            found = self._before_ids[length] = field[: len(field) - length]
        return found

    def _head(self, rows: int, wanted: tuple[int, ...]) -> bytes:
        head = self._heads.get((rows, wanted))
        if head is None:
            message = predict_pb2.PredictResponse(model_name=self._model, model_version=self._version)
            for index in wanted:
                spec = self._specs[index]
                message.outputs.add(name=spec.name, datatype=str(spec.dtype), shape=(rows, *spec.shape[1:]))
            head = message.SerializeToString()
            # Callers choose rows and outputs, so only so many are kept.
            if len(self._heads) < self._KEPT_HEADS:
                self._heads[rows, wanted] = head
        return head


def _field(tag: bytes, value: bytes) -> bytes:
    return tag + varint(len(value)) + value
