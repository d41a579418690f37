"""What a loop may declare, and what is said of one that does not fit."""

from typing import Any

import pytest

from crossfade.loop import Loop
from crossfade.strict_json import FieldError, decode, encode, parse
from crossfade.tensor_spec import DType, TensorSpec

INPUTS = (TensorSpec("token", DType.INT64, (-1, 1)), TensorSpec("hidden", DType.FP32, (-1, 8)))
OUTPUTS = (
    TensorSpec("next", DType.INT64, (-1, 1)),
    TensorSpec("hidden", DType.FP32, (-1, 8)),
    TensorSpec("ended", DType.BOOL, (-1,)),
    TensorSpec("score", DType.FP32, (-1, 1)),
)


def loop(**options: Any) -> Loop:
    said: dict[str, Any] = {"feeds": {"token": "next", "hidden": "hidden"}, "parts": ("next",), "max_parts": 10}
    return Loop(**{**said, **options})


def test_a_loop_that_fits_says_what_is_state() -> None:
    one = loop(until="ended", parts=["next", "score"])
    one.check(INPUTS, OUTPUTS)
    assert (one.state, one.parts) == (("hidden",), ("next", "score"))
    assert decode(Loop, parse(encode(one))) == one


def test_parts_are_written_as_a_list_also_in_typed_code() -> None:
    # mypy checks this file: the type of what callers write is the one that docs/getting-started.md shows.
    one = Loop(feeds={"token": "next"}, parts=["next"], max_parts=10)
    assert one == Loop(feeds={"token": "next"}, parts=("next",), max_parts=10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"feeds": {}}, "feeds: must name an input"),
        ({"parts": ()}, "parts: must name an output"),
        ({"parts": ("next", "next")}, "parts: names an output twice"),
        ({"parts": "next"}, r"parts: must be a list of outputs, as in \['next'\]"),
        ({"max_parts": 0}, "max_parts: must be 1 to 1,000,000"),
        ({"max_parts": 1_000_001}, "max_parts: must be 1 to 1,000,000"),
        ({"feeds": {"tokens": "next"}}, r"loop\.feeds\.tokens: 'tokens' is not one of the inputs token, hidden"),
        ({"feeds": {"token": "nxt"}}, r"loop\.feeds\.token: 'nxt' is not one of the outputs next, hidden"),
        ({"feeds": {"token": "score"}}, r"INT64 \[-1, 1\], and output 'score', which feeds it, FP32 \[-1, 1\]"),
        ({"feeds": {"hidden": "score"}}, r"FP32 \[-1, 8\], and output 'score', which feeds it, FP32 \[-1, 1\]"),
        ({"parts": ("text",)}, r"loop\.parts: 'text' is not one of the outputs"),
        ({"until": "end"}, r"loop\.until: 'end' is not one of the outputs"),
        ({"until": "score"}, r"loop\.until: 'score' is FP32 \[-1, 1\]: it must hold one truth or whole number per row"),
    ],
)
def test_a_loop_that_does_not_fit_is_refused_with_the_field(options: dict[str, Any], message: str) -> None:
    with pytest.raises(FieldError, match=message):
        loop(**options).check(INPUTS, OUTPUTS)
