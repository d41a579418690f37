"""What a Worker's settings may be."""

import pytest
from pydantic import ValidationError

from services.worker.settings import WorkerSettings


@pytest.mark.parametrize(
    ("text", "names"),
    [("", set()), ("mlp", {"mlp"}), ("mlp,resnet-18", {"mlp", "resnet-18"}), ("mlp, b.2,  c", {"mlp", "b.2", "c"})],
)
def test_architectures_are_listed(text: str, names: set[str]) -> None:
    assert WorkerSettings(architectures=text).allowed_architectures == names


@pytest.mark.parametrize("text", [" ", ",", "mlp,", "mlp;other", "*", "a b", "os:system"])
def test_architectures_that_are_no_list_of_names(text: str) -> None:
    with pytest.raises(ValidationError, match="architectures"):
        WorkerSettings(architectures=text)
