"""The examples beside digits: a tabular regression and a text classifier, each with a better and a worse version."""

from pathlib import Path
from typing import Any

import pytest
import torch

from crossfade.artifact import verify
from crossfade.manifest import Task
from crossfade.tensor_spec import DType
from examples.diabetes import __main__ as regression
from examples.prose import __main__ as text
from examples.writer import __main__ as writer


@pytest.mark.parametrize("seed", [0, 1])
def test_each_version_is_worth_what_it_is_said_to_be(seed: int) -> None:
    errors = [regression.error(regression.train(version, seed), seed) for version in regression.VERSIONS]
    assert max(errors[:2]) < 55
    assert errors[2] > 100
    rights = [text.accuracy(text.train(version, seed), seed) for version in text.VERSIONS]
    assert rights[1] > 0.93
    assert rights[1] > rights[0] > 0.75
    # By how much depends on the lines, and they are those of the Python that runs this: 4 to 24 points.
    assert rights[2] < rights[1] - 0.03


@pytest.mark.parametrize("module", [regression, text])
def test_their_artifacts_are_whole(module: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module.main(["--to", str(tmp_path)])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["version", *module.VERSIONS]
    manifests = [verify(tmp_path / version).manifest for version in module.VERSIONS]
    if module is regression:
        assert {manifest.task for manifest in manifests} == {Task.REGRESSION}
        assert all(manifest.profile and len(manifest.profile.features) == 10 for manifest in manifests)
    else:
        assert {(manifest.task, manifest.classes) for manifest in manifests} == {(Task.CLASSIFICATION, text.CLASSES)}
        assert {manifest.signature.inputs[0].dtype for manifest in manifests} == {DType.INT64}


@pytest.mark.parametrize("module", [regression, text, writer])
def test_the_same_seed_gives_the_same_version_with_however_many_threads(module: Any) -> None:
    threads = torch.get_num_threads()
    try:
        trained = []
        for number in (1, 4):
            torch.set_num_threads(number)
            trained.append(module.train("v1", 0).state_dict())
            assert torch.get_num_threads() == number
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])
