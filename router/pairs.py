"""Two versions' answers to one request, compared row by row."""

from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from crossfade import bfloat16, codec
from crossfade.metadata import PREDICTION_ID
from crossfade.predict.v1 import predict_pb2
from services.common.telemetry import catalog

EQUAL: Final = "equal"
NEAR: Final = "near"
FAR: Final = "far"
EQUAL_WITHIN: Final = 1e-5
NEAR_WITHIN: Final = 1e-2
"""Relative distances: of numbers that differ by rounding alone, and as little as two trainings of one model might."""

Pairs = Mapping[tuple[str, str], int]
"""Rows by what stable and the test version answered."""

FloatArray = npt.NDArray[np.float64]
_DTYPES: Final = {
    "FP64": "<f8",
    "FP32": "<f4",
    "FP16": "<f2",
    # By its bits.
    codec.BF16: "<u2",
    "INT64": "<i8",
    "INT32": "<i4",
    "INT16": "<i2",
    "INT8": "i1",
    "UINT64": "<u8",
    "UINT32": "<u4",
    "UINT16": "<u2",
    "UINT8": "u1",
    "BOOL": "?",
}


class Compared(NamedTuple):
    """Two versions' answers to one request.

    Attributes:
        pairs: rows by what was answered; None: they cannot be compared (no numbers, or other rows).
        ids: the prediction ids of stable's answer and of the test version's; empty: it has none.
    """

    pairs: Pairs | None
    ids: tuple[str, str]


def compare(stable: bytes, test: bytes, stable_classes: tuple[str, ...], test_classes: tuple[str, ...]) -> Compared:
    """Compares two serialized PredictResponses by their first outputs.

    Args:
        stable: stable's answer.
        test: the test version's.
        stable_classes: of stable's version; empty: it has none.
        test_classes: of the test version.

    Returns:
        Rows by class, of versions that both have up to 32 classes; else by `equal`, `near` and `far`, each beside
        itself.
    """
    one, other = _parsed(stable), _parsed(test)
    ids = (_prediction_id(one), _prediction_id(other))
    return Compared(_pairs(_first_output(one), _first_output(other), stable_classes, test_classes), ids)


def _parsed(body: bytes) -> predict_pb2.PredictResponse:
    try:
        return predict_pb2.PredictResponse.FromString(body)
    except DecodeError:
        return predict_pb2.PredictResponse()


def _prediction_id(response: predict_pb2.PredictResponse) -> str:
    return response.parameters[PREDICTION_ID].string_param if PREDICTION_ID in response.parameters else ""


def _pairs(
    ours: FloatArray | None, theirs: FloatArray | None, stable_classes: tuple[str, ...], test_classes: tuple[str, ...]
) -> Pairs | None:
    if ours is None or theirs is None or len(ours) != len(theirs):
        return None
    most = catalog.PREDICTED_CLASSES
    if 0 < len(stable_classes) <= most and 0 < len(test_classes) <= most:
        widths = ours.shape[1], theirs.shape[1]
        if widths == (len(stable_classes), len(test_classes)):
            chosen = zip(ours.argmax(axis=1).tolist(), theirs.argmax(axis=1).tolist(), strict=True)
            return Counter((stable_classes[a], test_classes[b]) for a, b in chosen)
    if ours.shape != theirs.shape:
        return None
    if stable_classes and test_classes == stable_classes and ours.shape[1] == len(stable_classes):
        same = ours.argmax(axis=1) == theirs.argmax(axis=1)
        return Counter((EQUAL, EQUAL) if one else (FAR, FAR) for one in same.tolist())
    return Counter((word, word) for word in map(_word, _distances(ours, theirs).tolist()))


def _word(distance: float) -> str:
    if distance <= EQUAL_WITHIN:
        return EQUAL
    return NEAR if distance <= NEAR_WITHIN else FAR


def _distances(ours: FloatArray, theirs: FloatArray) -> FloatArray:
    """The greatest relative difference of each row, infinite where either is no number."""
    scale = np.maximum(np.abs(ours), np.abs(theirs)).max(axis=1)
    gap = np.abs(ours - theirs).max(axis=1)
    found: FloatArray = np.where(gap == 0.0, 0.0, gap / np.where(scale > 0.0, scale, 1.0))
    return np.where(np.isfinite(found), found, np.inf)


def _first_output(response: predict_pb2.PredictResponse) -> FloatArray | None:
    """The first output as [rows, values]; None: it is not of numbers, or not what it says."""
    if not response.outputs or not response.raw_output_contents:
        return None
    output = response.outputs[0]
    dtype = _DTYPES.get(output.datatype)
    if dtype is None or not output.shape or min(output.shape) < 1:
        return None
    try:
        values = np.frombuffer(response.raw_output_contents[0], dtype=dtype).reshape(tuple(output.shape))
    except ValueError:
        return None
    if output.datatype == codec.BF16:
        values = bfloat16.from_bits(values)
    return values.astype(np.float64).reshape(output.shape[0], -1)
