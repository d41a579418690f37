"""What calls answer: predictions, what became of feedback, and errors."""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc
import numpy as np

from crossfade import codec
from crossfade.codec import Array
from crossfade.predict.v1 import predict_pb2

_FEEDBACK_BATCH: Final = 1_000
"""Observations that one request may hold."""


class PredictError(Exception):
    """A call failed.

    Attributes:
        code: the gRPC code.
        reason: UPPER_SNAKE, for programs; empty: nothing answered.
        message: for people.
        retry_seconds: of a full queue: about when the call may be made again; 0: nobody has said.
    """

    def __init__(self, code: grpc.StatusCode, reason: str, message: str, retry_seconds: float = 0.0) -> None:
        super().__init__(f"{code.name}: {message}" + (f" ({reason})" if reason else ""))
        self.code = code
        self.reason = reason
        self.message = message
        self.retry_seconds = retry_seconds


class NothingAnswersError(PredictError):
    """No Router answers at the address."""


class NoTlsConnectionError(NothingAnswersError):
    """Something answers at the address, and TLS keeps the client from it."""


class ClientClosedError(RuntimeError):
    """A client was used after it was closed, or closed under a call."""

    def __init__(self) -> None:
        super().__init__("the client is closed: make another one, or close it after its last call")


@dataclass(frozen=True, slots=True)
class Answer:
    """A prediction.

    Attributes:
        model: the model's id.
        version: the version that answered.
        outputs: arrays by output name, the batch as their first dimension.
        prediction_id: what feedback refers to.
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


@dataclass(frozen=True, slots=True)
class FeedbackSummary:
    """What became of observations.

    Attributes:
        accepted: counted.
        labels: of those the class names, which gates on labels wait for.
        values: of those the numbers, which no gate on labels counts.
        duplicates: labelled before; counted once.
        too_late: of a time that is no longer kept.
        refused: reasons of those that were not counted, in order.
    """

    accepted: int
    labels: int
    values: int
    duplicates: int
    too_late: int
    refused: tuple[str, ...]


def answer_of(response: predict_pb2.PredictResponse) -> Answer:
    """An answer's arrays and names."""
    return Answer(
        response.model_name,
        response.model_version,
        codec.decode_outputs(response),
        codec.prediction_id(response),
        response.id,
    )


def observations_of(answer: Answer, observed: float | Sequence[Any] | Array) -> list[predict_pb2.Observation]:
    """Texts are labels, numbers are values; None: nothing is known of that row. An entry may be a row of one.

    Raises:
        TypeError: an entry is neither a text nor a number.
        ValueError: the answer has no prediction id, or there are more entries than it has rows, or one for several.
    """
    entries = _entries(observed)
    rows = min((len(output) for output in answer.outputs.values()), default=len(entries))
    if len(entries) > rows:
        raise ValueError(f"there are {len(entries)} entries for {rows} rows: give one per row, None for nothing")
    if entries is not observed and rows > 1:
        raise ValueError(f"{observed!r} is one entry for {rows} rows: give a list with one per row, None for nothing")
    observations = []
    for row, entry in enumerate(entries):
        one = _only(entry)
        if one is None:
            continue
        if not answer.prediction_id:
            raise ValueError(
                "the answer has no prediction id: Workers without CROSSFADE_TOKEN_KEYS give none, and of a stream the "
                "last part alone has one, for the whole"
            )
        if isinstance(one, str):
            observations.append(predict_pb2.Observation(prediction_id=answer.prediction_id, row=row, label=one))
        else:
            value = _number(row, one)
            observations.append(predict_pb2.Observation(prediction_id=answer.prediction_id, row=row, value=value))
    return observations


def _entries(observed: float | Sequence[Any] | Array) -> Sequence[Any] | Array:
    """What was given, or the one entry that was given without a list; a text would be taken letter by letter."""
    alone = isinstance(observed, str | float | int) or getattr(observed, "ndim", 1) == 0
    return [observed] if alone else observed  # type: ignore[return-value]  # a number is always alone


def _only(entry: Any) -> Any:
    """The entry itself, also where it is a row of one: the outputs of most models have such rows."""
    row = entry.tolist() if isinstance(entry, np.ndarray) else entry
    return row[0] if isinstance(row, list | tuple) and len(row) == 1 else row


def _number(row: int, one: Any) -> float:
    # True would be the number 1, and was meant as a label.
    if not isinstance(one, bool | np.bool_):
        with contextlib.suppress(TypeError):
            return float(one)
    raise TypeError(
        f"row {row}: {one!r} is neither a text nor a number: write a class by its name ('1'), a number as 1.0, and "
        "None where nothing is known"
    )


def batches(observations: list[predict_pb2.Observation]) -> Iterable[predict_pb2.FeedbackRequest]:
    """Requests of as many observations as one may hold."""
    for start in range(0, len(observations), _FEEDBACK_BATCH):
        yield predict_pb2.FeedbackRequest(observations=observations[start : start + _FEEDBACK_BATCH])


def summarize(
    observations: Sequence[predict_pb2.Observation], results: Sequence[predict_pb2.ObservationResult]
) -> FeedbackSummary:
    """What became of observations, in numbers.

    Args:
        observations: what was reported.
        results: one for each, in their order.
    """
    status = predict_pb2.ObservationResult
    counts = [one.status for one in results]
    accepted = [
        said.WhichOneof("observed")
        for said, one in zip(observations, results, strict=False)
        if one.status == status.STATUS_ACCEPTED
    ]
    return FeedbackSummary(
        counts.count(status.STATUS_ACCEPTED),
        accepted.count("label"),
        accepted.count("value"),
        counts.count(status.STATUS_DUPLICATE),
        counts.count(status.STATUS_TOO_LATE),
        tuple(one.reason for one in results if one.status == status.STATUS_REFUSED),
    )
