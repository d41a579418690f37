"""The writer: each version is worth what is said of it, and its artifact is one step of a loop."""

from pathlib import Path

import numpy as np
import pytest
import torch

from crossfade.artifact import verify
from examples.writer import __main__ as writer


@pytest.mark.parametrize("seed", [0, 1])
def test_each_version_is_worth_what_it_is_said_to_be(seed: int) -> None:
    modules = {version: writer.train(version, seed) for version in writer.VERSIONS}
    bits = {version: writer.surprise(module, seed) for version, module in modules.items()}
    assert bits["v2"] < bits["v1"] - 0.2
    assert bits["v3"] > bits["v1"] + 0.1
    text = writer.write(modules["v2"], "The ", seed=1)
    assert text.startswith("The ")
    assert text == writer.write(modules["v2"], "The ", seed=1)
    assert len({writer.write(modules["v2"], "The ", seed=number) for number in range(5)}) > 1


def test_what_is_drawn_is_even() -> None:
    seeds, places = torch.arange(100).repeat_interleave(50).unsqueeze(1), torch.arange(50).repeat(100).unsqueeze(1)
    counts = np.histogram(writer._drawn(seeds, places).numpy(), bins=10, range=(0.0, 1.0))[0]
    # Binomial(5,000, 0.1) has a standard deviation of 21: five of them.
    assert np.abs(counts - 500).max() < 105


def test_its_artifacts_are_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer.main(["--to", str(tmp_path)])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["version", *writer.VERSIONS]
    for version in writer.VERSIONS:
        manifest = verify(tmp_path / version).manifest
        assert manifest.loop == writer.LOOP
        assert manifest.loop.state == ("place", "window", "written")
    with np.load(tmp_path / "prompt.npz") as prompt:
        assert bytes(prompt["prompt"][0, :4].astype(np.uint8)) == b"The "
