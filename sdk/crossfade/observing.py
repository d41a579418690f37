"""What turned out to be true: observations of predictions, and what became of them."""

import contextlib
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from crossfade.answers import Answer, shortened
from crossfade.codec import Array
from crossfade.predict.v1 import predict_pb2

MAX_LABELLED_ROWS: Final = 64
"""The first rows of a call; a prediction id states no more of them, so that later rows take no feedback."""
_FEEDBACK_BATCH: Final = 1_000
"""Observations that one request may hold."""


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


def observations_of(
    answer: Answer | str, observed: float | Sequence[Any] | Array, rows: int | Sequence[int] | Array | None = None
) -> list[predict_pb2.Observation]:
    """Texts are labels, numbers are values; None: nothing is known of that row. An entry may be a row of one.

    Args:
        answer: the answer, or its prediction id.
        observed: one entry per row.
        rows: the entries' rows; None: 0, 1, 2 and so on.

    Raises:
        TypeError: the answer is neither, an entry is neither a text nor a number, or a row is no whole number.
        ValueError: there is no prediction id, or there are more entries than rows, or one for several, or other rows
            than entries, or entries for rows that take none.
    """
    prediction_id, count = _prediction(answer)
    if observed is None:
        raise TypeError(
            "None is no entry: give a list with one entry per row, None for a row of which nothing is known"
        )
    entries = _entries(observed)
    numbers = _numbers(rows, len(entries), count)
    if rows is None and entries is not observed and count is not None and count > 1:
        raise ValueError(f"{observed!r} is one entry for {count} rows: give a list with one per row, None for nothing")
    observations = []
    for row, entry in zip(numbers, entries, strict=True):
        one = _only(entry)
        if one is None:
            continue
        if not prediction_id:
            raise ValueError(
                "the answer has no prediction id: Workers without CROSSFADE_TOKEN_KEYS give none, and of a stream the "
                "last part alone has one, for the whole"
            )
        if row >= MAX_LABELLED_ROWS:
            raise ValueError(
                f"row {row} takes no feedback: the first {MAX_LABELLED_ROWS} rows of a call do. Give None for the "
                f"others, and send at most {MAX_LABELLED_ROWS} rows in each call where all are to be labelled"
            )
        if isinstance(one, str):
            observations.append(predict_pb2.Observation(prediction_id=prediction_id, row=row, label=one))
        else:
            value = _number(row, one)
            observations.append(predict_pb2.Observation(prediction_id=prediction_id, row=row, value=value))
    return observations


def _prediction(answer: Answer | str) -> tuple[str, int | None]:
    """The prediction's id, and how many rows it has; None: an id does not say."""
    if isinstance(answer, Answer):
        return answer.prediction_id, min((len(output) for output in answer.outputs.values()), default=None)
    if not isinstance(answer, str):
        raise TypeError(
            f"{shortened(repr(answer))} is neither an answer nor a prediction id: give what `predict` returned, or its "
            "prediction_id, a text"
        )
    if not answer:
        raise ValueError("the prediction id is empty: store answer.prediction_id of what `predict` returned")
    return answer, None


def _numbers(rows: int | Sequence[int] | Array | None, entries: int, count: int | None) -> Sequence[int]:
    """Which row each entry is about."""
    if rows is None:
        if count is not None and entries > count:
            raise ValueError(f"there are {entries} entries for {count} rows: give one per row, None for nothing")
        return range(entries)
    alone = np.ndim(rows) == 0
    numbers = [_row(row) for row in ([rows] if alone else rows)]  # type: ignore[union-attr]  # a number is alone
    if len(numbers) != entries:
        raise ValueError(f"there are {entries} entries for {len(numbers)} row numbers: give one for each")
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"rows {numbers} name a row twice: give one entry for each")
    for row in numbers:
        if row < 0 or (count is not None and row >= count):
            raise ValueError(f"there is no row {row}" + (f": the answer has {count} rows, from 0" if count else ""))
    return numbers


def _row(row: Any) -> int:
    # True would be the row 1.
    if not isinstance(row, bool):
        with contextlib.suppress(TypeError):
            return operator.index(row)
    raise TypeError(f"row {row!r} is no whole number")


def _entries(observed: float | Sequence[Any] | Array) -> Sequence[Any] | Array:
    """What was given, or the one entry that was given without a list; a text would be taken letter by letter."""
    if isinstance(observed, set | frozenset | Mapping):
        raise TypeError(
            f"a {type(observed).__name__} does not say which row an entry is about: give a list, row by row"
        )
    if isinstance(observed, Iterator):
        raise TypeError(f"a {type(observed).__name__} is no list: give list(...) of it, one entry per row")
    # Bytes would be taken for numbers; alone they are refused as any entry of bytes is.
    alone = isinstance(observed, str | float | int | bytes | bytearray) or getattr(observed, "ndim", 1) == 0
    return [observed] if alone else observed  # type: ignore[return-value]  # a number is always alone


def _only(entry: Any) -> Any:
    """The entry itself, also where it is a row of one: the outputs of most models have such rows."""
    row = entry.tolist() if isinstance(entry, np.ndarray) else entry
    return row[0] if isinstance(row, list | tuple) and len(row) == 1 else row


def _number(row: int, one: Any) -> float:
    # True would be the number 1, as Python takes b"1" for one, and was meant as a label.
    if not isinstance(one, bool | np.bool_ | bytes | bytearray):
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
