"""Buckets and ranges."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.split import BUCKETS, ArmName, Split, bucket_of


@pytest.mark.parametrize(
    ("model", "key", "bucket"),
    [("churn", "user-1", 4641), ("churn", "user-2", 1233), ("digits", "user-1", 9917), ("churn", "", 7695)],
)
def test_published_vectors(model: str, key: str, bucket: int) -> None:
    assert bucket_of(model, key) == bucket


@given(st.text(max_size=30), st.text(max_size=30))
def test_bucket_is_the_first_eight_bytes_of_the_hash(model: str, key: str) -> None:
    digest = hashlib.sha256(model.encode() + b"\0" + key.encode()).digest()
    assert bucket_of(model, key) == int.from_bytes(digest[:8], "big") % 10_000


@given(st.integers(0, BUCKETS - 1), st.integers(0, 5_000), st.integers(0, 5_000))
def test_every_bucket_has_one_arm_and_the_arms_have_their_sizes(offset: int, test: int, control: int) -> None:
    split = Split(offset, test, control)
    arms = [split.arm(bucket) for bucket in range(BUCKETS)]
    assert arms.count(ArmName.TEST) == test
    assert arms.count(ArmName.CONTROL) == control
    assert arms.count(ArmName.STABLE) == BUCKETS - test - control


@given(st.integers(0, BUCKETS - 1), st.integers(1, 4_999), st.integers(1, 5_000))
def test_growing_the_share_never_takes_a_key_from_test(offset: int, test: int, more: int) -> None:
    small, large = Split(offset, test, 0), Split(offset, min(test + more, BUCKETS), 0)
    for bucket in range(0, BUCKETS, 7):
        if small.arm(bucket) is ArmName.TEST:
            assert large.arm(bucket) is ArmName.TEST


def test_a_range_wraps() -> None:
    split = Split(9_900, 200, 100)
    assert split.arm(9_900) is ArmName.TEST
    assert split.arm(99) is ArmName.TEST
    assert split.arm(100) is ArmName.CONTROL
    assert split.arm(199) is ArmName.CONTROL
    assert split.arm(200) is ArmName.STABLE
    assert split.arm(9_899) is ArmName.STABLE
