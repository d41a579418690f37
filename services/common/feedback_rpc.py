"""The Feedback RPC on top of a FeedbackBook: alike on Routers and Workers."""

from typing import Final

from crossfade.predict.v1 import predict_pb2
from services.common.errors import InvalidArgumentError
from services.common.feedback import FeedbackBook, Result, Status

MOST_OBSERVATIONS: Final = 1_000
"""Observations that one request may hold."""

LONGEST_LABEL: Final = 1_000
"""Characters of a label. Names of classes have 128 at most."""

_STATUSES: Final = {
    Status.ACCEPTED: predict_pb2.ObservationResult.STATUS_ACCEPTED,
    Status.DUPLICATE: predict_pb2.ObservationResult.STATUS_DUPLICATE,
    Status.REFUSED: predict_pb2.ObservationResult.STATUS_REFUSED,
    Status.TOO_LATE: predict_pb2.ObservationResult.STATUS_TOO_LATE,
}


def check(request: predict_pb2.FeedbackRequest) -> None:
    """Refuses a request with too many observations, or with a label that is too long.

    Raises:
        InvalidArgumentError: FIELD_INVALID.
    """
    if len(request.observations) > MOST_OBSERVATIONS:
        raise InvalidArgumentError(
            "FIELD_INVALID",
            f"{len(request.observations)} observations are too many: send at most {MOST_OBSERVATIONS} in a request",
            field="observations",
        )
    for position, observation in enumerate(request.observations):
        if len(observation.label) > LONGEST_LABEL:
            raise InvalidArgumentError(
                "FIELD_INVALID",
                f"a label of {len(observation.label)} characters is no class: send at most {LONGEST_LABEL}",
                field=f"observations[{position}].label",
            )


def observe(book: FeedbackBook, observation: predict_pb2.Observation) -> predict_pb2.ObservationResult:
    """Counts one observation."""
    match observation.WhichOneof("observed"):
        case "label":
            result = book.label(observation.prediction_id, observation.row, observation.label)
        case "value":
            result = book.value(observation.prediction_id, observation.row, observation.value)
        case _:
            result = Result(Status.REFUSED, "the observation has neither a label nor a value")
    return predict_pb2.ObservationResult(status=_STATUSES[result.status], reason=result.reason)


def answer(book: FeedbackBook, request: predict_pb2.FeedbackRequest) -> predict_pb2.FeedbackResponse:
    """Counts all observations of a request.

    Raises:
        InvalidArgumentError: the request has too many, or a label is too long.
    """
    check(request)
    return predict_pb2.FeedbackResponse(results=[observe(book, one) for one in request.observations])
