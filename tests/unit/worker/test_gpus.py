"""A device that is not there is refused at the start."""

import pytest

from services.worker.gpus import check_device


@pytest.mark.parametrize(("name", "found"), [("cuda", 0), ("cuda:0", 0), ("cuda:7", 7), ("cuda:12", 8)])
def test_a_device_that_is_not_there(name: str, found: int) -> None:
    with pytest.raises(ValueError, match=f"CROSSFADE_DEVICE is {name}, and torch finds {found} CUDA devices"):
        check_device(name, lambda: found)


@pytest.mark.parametrize(("name", "found"), [("cuda", 1), ("cuda:0", 1), ("cuda:7", 8)])
def test_a_device_that_is_there(name: str, found: int) -> None:
    check_device(name, lambda: found)


@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_without_a_device_nobody_is_asked(name: str) -> None:
    check_device(name, lambda: pytest.fail("asked"))
