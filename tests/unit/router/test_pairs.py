"""Two versions' answers, compared row by row."""

import numpy as np
import pytest

from crossfade import bfloat16
from crossfade.predict.v1 import predict_pb2
from router.pairs import compare
from services.common.telemetry import catalog

KEEP = ("keep", "churn")


def answer(values: object, datatype: str = "FP32", shape: tuple[int, ...] | None = None) -> bytes:
    array = np.asarray(values, dtype={"FP32": "<f4", "FP64": "<f8", "INT64": "<i8"}.get(datatype, "<f4"))
    response = predict_pb2.PredictResponse(raw_output_contents=[array.tobytes()])
    response.outputs.add(name="y", datatype=datatype, shape=shape or array.shape)
    return response.SerializeToString()


def test_classes_are_those_with_the_highest_scores() -> None:
    stable, test = answer([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), answer([[0.8, 0.2], [0.7, 0.3], [0.9, 0.1]])
    assert compare(stable, test, KEEP, KEEP).pairs == {("keep", "keep"): 2, ("churn", "keep"): 1}


def test_classes_are_matched_by_name() -> None:
    stable, test = answer([[0.9, 0.1]]), answer([[0.1, 0.9]])
    assert compare(stable, test, KEEP, ("churn", "keep")).pairs == {("keep", "keep"): 1}


def test_many_classes_are_alike_or_not() -> None:
    many = tuple(f"c{number}" for number in range(40))
    stable, test = np.zeros((2, 40), dtype="<f4"), np.zeros((2, 40), dtype="<f4")
    stable[:, 3], test[0, 3], test[1, 7] = 1, 1, 1
    assert compare(answer(stable), answer(test), many, many).pairs == {("equal", "equal"): 1, ("far", "far"): 1}


def test_as_many_classes_as_series_are_kept_for_are_told_by_name() -> None:
    most = tuple(f"c{number}" for number in range(catalog.PREDICTED_CLASSES))
    scores = answer(np.eye(len(most), dtype="<f4")[:1])
    assert compare(scores, scores, most, most).pairs == {("c0", "c0"): 1}


def test_numbers_of_a_version_without_classes_are_compared_as_numbers() -> None:
    stable, test = answer([[0.9, 0.1]]), answer([[0.2, 0.1]])
    for classes in (((), KEEP), (KEEP, ()), ((), ())):
        assert compare(stable, test, *classes).pairs == {("far", "far"): 1}


def test_scores_are_compared_as_numbers_where_they_are_not_one_for_each_class() -> None:
    many = tuple(f"c{number}" for number in range(40))
    stable, test = answer([[1.0, 2.0]]), answer([[10.0, 20.0]])
    assert compare(stable, test, many, many).pairs == {("far", "far"): 1}


def test_a_row_is_as_far_as_its_farthest_number_by_the_rows_own_scale() -> None:
    stable, test = answer([[100.0, 0.0], [1.0, 0.0]]), answer([[100.0, 0.5], [1.0, 0.5]])
    assert compare(stable, test, (), ()).pairs == {("near", "near"): 1, ("far", "far"): 1}


def test_numbers_are_equal_near_or_far() -> None:
    stable, test = answer([[100.0], [100.0], [100.0], [0.0]]), answer([[100.0001], [100.5], [150.0], [0.0]])
    found = compare(stable, test, (), ()).pairs
    assert found == {("equal", "equal"): 2, ("near", "near"): 1, ("far", "far"): 1}
    assert compare(answer([[1.0]]), answer([[np.nan]]), (), ()).pairs == {("far", "far"): 1}
    assert compare(answer([[1]], "INT64"), answer([[1.0]], "FP64"), (), ()).pairs == {("equal", "equal"): 1}


@pytest.mark.parametrize(
    "other",
    [
        b"\xff\xff",
        predict_pb2.PredictResponse().SerializeToString(),
        answer([[1.0], [2.0]]),
        answer([[1.0, 2.0]]),
        answer([[1.0]], "BYTES"),
        answer([[1.0]], shape=(7, 7)),
        answer([[1.0]], shape=(-1, 1)),
        answer([1.0], shape=(0,)),
        answer([], shape=(1, 0)),
    ],
)
def test_what_cannot_be_compared_is_not(other: bytes) -> None:
    assert compare(answer([[1.0]]), other, (), ()).pairs is None
    assert compare(other, answer([[1.0]]), (), ()).pairs is None


def test_the_prediction_ids_of_both_answers_are_read() -> None:
    one = predict_pb2.PredictResponse.FromString(answer([[1.0]]))
    one.parameters["crossfade_prediction_id"].string_param = "the-id"
    assert compare(one.SerializeToString(), answer([[1.0]]), (), ()).ids == ("the-id", "")
    assert compare(b"\xff\xff", one.SerializeToString(), (), ()).ids == ("", "the-id")


def test_answers_in_bfloat16_are_compared_too() -> None:
    def short(*values: float) -> bytes:
        response = predict_pb2.PredictResponse(raw_output_contents=[bfloat16.to_bits(np.array(values)).tobytes()])
        response.outputs.add(name="y", datatype="BF16", shape=(len(values), 1))
        return response.SerializeToString()

    compared = compare(short(1.0, 2.0, -3.0), short(1.0, 2.015625, 3.0), (), ())
    assert compared.pairs == {("equal", "equal"): 1, ("near", "near"): 1, ("far", "far"): 1}
