"""Numbers of bfloat16 by their bits, in requests and in answers."""

import numpy as np
import torch

from crossfade import bfloat16
from crossfade.codec import decode_outputs, encode_request
from crossfade.predict.v1 import predict_pb2


def test_numbers_are_rounded_as_torch_rounds_them() -> None:
    drawn = np.random.default_rng(0).normal(size=2_000) * np.logspace(-40, 40, 2_000)
    ties = np.array([1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8, 2**-133, 3.4e38, 3.3895314e38])
    odd = np.array([0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf])
    with np.errstate(over="ignore"):
        values = np.concatenate([drawn, ties, odd]).astype(np.float32)
    expected = torch.from_numpy(values).to(torch.bfloat16)
    np.testing.assert_array_equal(bfloat16.from_bits(bfloat16.to_bits(values)), expected.float().numpy())


def test_every_number_is_the_same_in_both() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    values = bfloat16.from_bits(bits)
    again = bfloat16.to_bits(values)
    finite = ~np.isnan(values)
    np.testing.assert_array_equal(again[finite], bits[finite])
    assert np.isnan(bfloat16.from_bits(again[~finite])).all()


def test_it_is_sent_by_its_bits_and_read_as_float32() -> None:
    rows = np.array([[0.1, 1.0], [np.nan, -2.0]])
    request = encode_request("m", {"x": rows, "y": rows}, bf16=["x"])
    assert [one.datatype for one in request.inputs] == ["BF16", "FP64"]
    response = predict_pb2.PredictResponse(raw_output_contents=request.raw_input_contents[:1])
    response.outputs.add(name="x", datatype="BF16", shape=(2, 2))
    (read,) = decode_outputs(response).values()
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, np.array([[0.10009765625, 1.0], [np.nan, -2.0]], np.float32))
