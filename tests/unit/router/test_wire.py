"""The first fields of a request's bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.names import LONGEST_ID
from crossfade.predict.v1 import predict_pb2
from router.wire import LongNameError, MalformedError, first_fields

NAMES = st.text(max_size=LONGEST_ID).filter(lambda text: len(text.encode()) <= LONGEST_ID)


@given(NAMES, NAMES, st.binary(max_size=300))
def test_agrees_with_protobuf(model: str, version: str, content: bytes) -> None:
    request = predict_pb2.PredictRequest(model_name=model, model_version=version, id="7", raw_input_contents=[content])
    assert first_fields(request.SerializeToString(), LONGEST_ID) == (model, version)


def test_an_empty_body_names_nothing() -> None:
    assert first_fields(b"", LONGEST_ID) == ("", "")


@pytest.mark.parametrize(
    "body",
    [
        b"GET / HTTP/1.1",
        b"\x0a",
        b"\x0a\x05abc",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff",
        b"\x0a\x02\xff\xfe",
        b"\x00",
        b'{"model_name": "churn"}',
    ],
)
def test_what_cannot_be_a_request_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedError, match="no PredictRequest"):
        first_fields(body, LONGEST_ID)


@pytest.mark.parametrize("field", ["model_name", "model_version"])
def test_a_name_that_can_be_no_id_is_refused_by_its_length_alone(field: str) -> None:
    for length in (LONGEST_ID + 1, 10_000, 15_000_000):
        request = predict_pb2.PredictRequest(**{field: "m" * length})  # type: ignore[arg-type]
        with pytest.raises(LongNameError, match=f"{length:,} bytes") as caught:
            first_fields(request.SerializeToString(), LONGEST_ID)
        assert caught.value.field == field
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize("field", [b"\x0a\x00", b"\x12\x00", b"\x12\x02v1"])
def test_names_that_are_given_again_and_again_are_refused_and_not_read_to_their_end(field: bytes) -> None:
    assert first_fields(b"\x0a\x05churn" + field, LONGEST_ID) == (
        "" if field[0] == 0x0A else "churn",
        field[2:].decode(),
    )
    with pytest.raises(MalformedError, match="more than 16 times"):
        # Not UTF-8 at its end, which is not reached.
        first_fields(field * 17 + b"\x0a\x01\xff", LONGEST_ID)


@given(st.binary(max_size=64))
def test_no_bytes_break_it(body: bytes) -> None:
    try:
        model, version = first_fields(body, LONGEST_ID)
    except MalformedError:
        return
    assert isinstance(model, str)
    assert isinstance(version, str)
