"""Answers of the Open Inference Protocol: arrays to a response's bytes."""

from collections.abc import Sequence
from typing import Final

from crossfade.connection import MESSAGE_LIMIT
from crossfade.metadata import FINAL_RESPONSE, PREDICTION_ID
from crossfade.predict.v1 import predict_pb2
from crossfade.tensor_spec import Signature, TensorSpec
from services.common.errors import InvalidArgumentError
from services.common.text import listed, shown
from services.common.varint import varint
from services.worker.shared_memory.tensors import Array, row_bytes

# Tags of length-delimited fields (protobuf encoding, "Message Structure"): number * 8 + 2.
_ID: Final = b"\x1a"
_PARAMETERS: Final = b"\x22"
_MAP_VALUE: Final = b"\x12"
_STRING_PARAM: Final = b"\x1a"
_RAW_OUTPUT: Final = b"\x32"

_ID_BYTES: Final = 1024
_BESIDE_BYTES: Final = 4096
"""For what is beside the outputs in an answer: the names of model and version, the prediction id, and an id of the
caller's of `_ID_BYTES`."""
_MOST_ROWS: Final = 2**31
_TAG_BYTES: Final = 6
"""Before each output's bytes: the field's tag and their number."""


def _marked(last: bool) -> bytes:
    message = predict_pb2.PredictResponse()
    message.parameters[FINAL_RESPONSE].bool_param = last
    return message.SerializeToString()


_LAST: Final = {last: _marked(last) for last in (False, True)}


def room_for_rows(outputs: Sequence[TensorSpec]) -> int:
    """Bytes that the rows of all outputs may have in one answer."""
    head = _described(predict_pb2.PredictResponse(), outputs, _MOST_ROWS).ByteSize()
    return MESSAGE_LIMIT - head - _TAG_BYTES * len(outputs) - _BESIDE_BYTES


def _described(
    message: predict_pb2.PredictResponse, outputs: Sequence[TensorSpec], rows: int
) -> predict_pb2.PredictResponse:
    for spec in outputs:
        message.outputs.add(name=spec.name, datatype=str(spec.dtype), shape=(rows, *spec.shape[1:]))
    return message


class OutputWriter:
    """Writes the answers of one version.

    What does not change between answers is serialized once per number of rows: serialized messages that follow one
    another read as one (protobuf encoding, "Last One Wins", merging of repeated fields).
    """

    _KEPT_HEADS = 256
    _KEPT_BYTES = 1 << 20
    _PREDICTION_KEY: Final = b"\x0a" + bytes((len(PREDICTION_ID),)) + PREDICTION_ID.encode()

    def __init__(self, model: str, version: str, signature: Signature) -> None:
        self._model = model
        self._version = version
        self._specs = signature.outputs
        self._index = {spec.name: i for i, spec in enumerate(signature.outputs)}
        self._all = tuple(range(len(signature.outputs)))
        self._row_bytes = [row_bytes([spec]) for spec in signature.outputs]
        self._room = room_for_rows(signature.outputs)
        self._heads: dict[tuple[int, tuple[int, ...]], bytes] = {}
        self._heads_bytes = 0
        self._before_ids: dict[int, bytes] = {}

    def wanted(self, request: predict_pb2.PredictRequest) -> tuple[int, ...]:
        """Positions of the outputs that the request asks for, in its order; all when it names none.

        Raises:
            InvalidArgumentError: OUTPUT_UNKNOWN, or MESSAGE_MALFORMED: one is named twice.
        """
        if not request.outputs:
            return self._all
        chosen: dict[int, None] = {}
        for position, output in enumerate(request.outputs):
            index = self._index.get(output.name)
            if index is None:
                raise InvalidArgumentError(
                    "OUTPUT_UNKNOWN",
                    f"the model has no output {shown(output.name)}; its outputs are {listed(self._index)}",
                    field=f"outputs[{position}].name",
                )
            if index in chosen:
                raise InvalidArgumentError(
                    "MESSAGE_MALFORMED",
                    f"output {output.name!r} is named twice; name each once",
                    field=f"outputs[{position}].name",
                )
            chosen[index] = None
        return tuple(chosen)

    def check(self, rows: int, wanted: tuple[int, ...], request_id: str) -> None:
        """Refuses, before anything runs, what no message could carry back.

        Raises:
            InvalidArgumentError: INPUT_SHAPE.
        """
        size = rows * sum([self._row_bytes[index] for index in wanted])
        if size + max(0, len(request_id.encode()) - _ID_BYTES) > self._room:
            raise InvalidArgumentError(
                "INPUT_SHAPE",
                f"the answer's {size} bytes of {rows} rows, with the request's id, are more than a message carries; "
                "send fewer rows, name fewer outputs, or give a shorter id",
                field="inputs[0].shape",
            )

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
            head = _described(message, [self._specs[index] for index in wanted], rows).SerializeToString()
            # Callers choose rows and outputs, so only so many are kept.
            if len(self._heads) < self._KEPT_HEADS and self._heads_bytes + len(head) <= self._KEPT_BYTES:
                self._heads[rows, wanted] = head
                self._heads_bytes += len(head)
        return head


def _field(tag: bytes, value: bytes) -> bytes:
    return tag + varint(len(value)) + value
