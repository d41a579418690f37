"""What calls answer: predictions and errors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import grpc

from crossfade import codec
from crossfade.codec import Array
from crossfade.predict.v1 import predict_pb2

_ID_SHOWN: Final = 12
"""Characters of a prediction id that an answer shows."""


class PredictError(Exception):
    """A call failed.

    Attributes:
        code: the gRPC code.
        reason: UPPER_SNAKE, for programs; empty: nothing answered.
        message: for people.
        retry_seconds: of a full queue: about when the call may be made again; 0: nobody has said.
        metadata: facts for programs, as the service has sent them.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str,
        message: str,
        retry_seconds: float = 0.0,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code.name}: {message}" + (f" ({reason})" if reason else ""))
        self.code = code
        self.reason = reason
        self.message = message
        self.retry_seconds = retry_seconds
        self.metadata = dict(metadata or {})

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, as multiprocessing and Celery hand it to another process, it stays what it is."""
        return type(self), (self.code, self.reason, self.message, self.retry_seconds, self.metadata)


class NothingAnswersError(PredictError):
    """No Router answers at the address."""


class NoTlsConnectionError(NothingAnswersError):
    """Something answers at the address, and TLS keeps the client from it."""


class ClientClosedError(RuntimeError):
    """A client was used after it was closed, or closed under a call."""

    def __init__(self) -> None:
        super().__init__("the client is closed: make another one, or close it after its last call")

    def __reduce__(self) -> tuple[Any, ...]:
        """It is pickled without its message, which it makes itself."""
        return type(self), ()


@dataclass(frozen=True, slots=True)
class Answer:
    """A prediction.

    Attributes:
        model: the model's id.
        version: the version that answered.
        outputs: arrays by output name, the batch as their first dimension.
        prediction_id: what feedback refers to, also hours later and in another process; empty: it takes none.
        request_id: the request's id.
    """

    model: str
    version: str
    outputs: Mapping[str, Array]
    prediction_id: str
    request_id: str

    @property
    def output(self) -> Array:
        """The first output."""
        return next(iter(self.outputs.values()))

    def __repr__(self) -> str:
        """Who answered and what; not the rows, which may be many."""
        arrays = ", ".join(f"{name} {array.dtype} {list(array.shape)}" for name, array in self.outputs.items())
        feedback = f"prediction_id {shortened(self.prediction_id, _ID_SHOWN)}" if self.prediction_id else "no feedback"
        return f"<Answer of {self.model} {self.version}: {arrays or 'no outputs'}; {feedback}>"


def answer_of(response: predict_pb2.PredictResponse) -> Answer:
    """An answer's arrays and names."""
    return Answer(
        response.model_name,
        response.model_version,
        codec.decode_outputs(response),
        codec.prediction_id(response),
        response.id,
    )


def shortened(text: str, most: int = 80) -> str:
    """The text's beginning, where it is long."""
    return text if len(text) <= most else f"{text[:most]}…"
