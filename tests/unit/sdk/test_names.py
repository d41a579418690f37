"""What ids are, and that it is said in one sentence."""

import re
from collections.abc import Callable

import pytest

from crossfade.names import ID_RULE, check_id, check_new_model, lane_title


@pytest.mark.parametrize("value", ["", "a b", "-a", ".a", "ä", "a/b", "a" * 64])
@pytest.mark.parametrize("check", [check_id, check_new_model])
def test_what_is_no_id_is_told_the_rule(check: Callable[[str, str], str], value: str) -> None:
    with pytest.raises(ValueError, match=f"^version {re.escape(repr(value))} is not an id: use {re.escape(ID_RULE)}$"):
        check(value, "version")


@pytest.mark.parametrize("value", ["a", "9", "churn-2.1_b", "a" * 63])
def test_ids(value: str) -> None:
    assert (check_id(value, "model"), check_new_model(value, "model")) == (value, value)


def test_a_new_model_is_of_lower_case_and_the_same_sentence_says_so() -> None:
    assert check_id("Churn", "model") == "Churn"
    with pytest.raises(ValueError, match=f"^model 'Churn' is not an id: use {re.escape(ID_RULE)}$"):
        check_new_model("Churn", "model")


def test_lanes_have_names() -> None:
    assert (lane_title(""), lane_title("eu")) == ("the default lane", "the lane of segment eu")
