"""Whether callers of one version can use another."""

from dataclasses import replace

import pytest

from registry.domain.records import Signature, TensorSpec
from registry.domain.signature import check_compatible, differences
from services.common.errors import FailedPreconditionError

STABLE = Signature(
    inputs=(TensorSpec("x", "FP32", (-1, 4)), TensorSpec("age", "INT64", (-1, 1))),
    outputs=(TensorSpec("scores", "FP32", (-1, 2)),),
    task="classification",
    classes=("no", "yes"),
    positive_class="yes",
)
X, AGE = STABLE.inputs


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (replace(STABLE, inputs=(X,)), "input age is gone"),
        (replace(STABLE, inputs=(X, AGE, TensorSpec("z", "FP32", (-1,)))), "input z is new"),
        (replace(STABLE, inputs=(replace(X, datatype="FP64"), AGE)), "input x was FP32 and is FP64"),
        (replace(STABLE, inputs=(replace(X, shape=(-1, 5)), AGE)), r"the shape \[-1, 4\] and has \[-1, 5\]"),
        (replace(STABLE, inputs=(replace(X, shape=(-1, 4, 1)), AGE)), "input x had the shape"),
        (replace(STABLE, outputs=(TensorSpec("s", "FP32", (-1, 2)),)), "output scores is gone"),
        (replace(STABLE, task="other"), "the task was classification and is other"),
        (replace(STABLE, classes=("yes", "no")), r"the classes were \[no, yes\] and are \[yes, no\]"),
    ],
)
def test_differences_are_named(new: Signature, said: str) -> None:
    with pytest.raises(FailedPreconditionError, match=said) as caught:
        check_compatible("v2", "v1", STABLE, new)
    assert caught.value.reason == "SIGNATURE_INCOMPATIBLE"
    assert "allow_incompatible" in caught.value.message


@pytest.mark.parametrize(
    "new",
    [
        STABLE,
        replace(STABLE, inputs=(AGE, X)),
        replace(STABLE, inputs=(replace(X, shape=(-1, -1)), AGE)),
        replace(STABLE, outputs=(*STABLE.outputs, TensorSpec("logits", "FP32", (-1, 2)))),
        replace(STABLE, positive_class=""),
    ],
)
def test_what_callers_do_not_notice_is_compatible(new: Signature) -> None:
    assert differences(STABLE, new) == ()
    check_compatible("v2", "v1", STABLE, new)


WRITER = Signature(
    inputs=(TensorSpec("character", "INT64", (-1, 1)), TensorSpec("memory", "FP32", (-1, 64))),
    outputs=(TensorSpec("character", "INT64", (-1, 1)), TensorSpec("memory", "FP32", (-1, 64))),
    task="other",
    classes=(),
    positive_class="",
    parts=("character",),
    state=("memory",),
)
LARGER = TensorSpec("memory", "FP32", (-1, 128))


def test_state_is_a_versions_own_affair() -> None:
    character = WRITER.inputs[:1]
    assert differences(WRITER, replace(WRITER, inputs=(*character, LARGER), outputs=(*character, LARGER))) == ()
    assert differences(WRITER, replace(WRITER, inputs=character, outputs=character, state=())) == ()
    more = (*WRITER.inputs, TensorSpec("cell", "FP32", (-1, 64)))
    assert differences(WRITER, replace(WRITER, inputs=more, state=("memory", "cell"))) == ()


def test_parts_must_go_on_coming() -> None:
    at_once = replace(WRITER, parts=(), state=())
    assert differences(WRITER, at_once) == (
        "input memory is new, and callers do not send it",
        "output character was sent part by part and is not any more",
    )
    # Callers of Predict get what they got.
    assert differences(at_once, WRITER) == ()
