"""Weights packaged for an architecture."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from crossfade.artifact import Architecture, PackageError, package, read_golden, verify
from crossfade.artifact.building import build, fill
from crossfade.manifest import Kind, loads
from examples.architectures.example_architectures import Experts, Perceptron
from tests.support.installing import install, install_examples

ROWS = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
WIDTHS = [4, 8, 3]
MLP = Architecture("mlp", {"widths": WIDTHS})

SOURCE = """
import torch
from torch import nn


def raises():
    raise RuntimeError("no such layer\\nand more")


def leaves():
    raise SystemExit("no licence")


def text():
    return "module"


class Scaled(nn.Module):
    def __init__(self, factor=1.0):
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.factor = factor

    def forward(self, x):
        return self.linear(x) * self.factor


class Pair(nn.Module):
    def __init__(self, names=("first", "second")):
        super().__init__()
        self.names = names
        self.scores = nn.Linear(4, 2)

    def forward(self, amounts, code):
        scores = self.scores(amounts) + code.unsqueeze(1)
        return dict(zip(self.names, (scores, scores.argmax(dim=1))))


class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.LazyLinear(3)

    def forward(self, x):
        return self.layers(x)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.there = nn.Linear(4, 3)
        self.back = nn.Linear(3, 4)
        self.back.weight = nn.Parameter(self.there.weight.T)
        self.again = nn.Linear(4, 3)
        self.again.weight = self.there.weight

    def forward(self, x):
        return self.again(self.back(self.there(x)))


class Stateful(nn.Linear):
    def __init__(self):
        super().__init__(4, 3)

    def get_extra_state(self):
        return {"seen": 5}

    def set_extra_state(self, state):
        pass
"""
ENTRIES = {
    "raises": "house:raises",
    "leaves": "house:leaves",
    "text": "house:text",
    "scaled": "house:Scaled",
    "pair": "house:Pair",
    "lazy": "house:Lazy",
    "tied": "house:Tied",
    "stateful": "house:Stateful",
    "absent": "house:Absent",
    "nowhere": "no_such_house:make",
    "linear": "torch.nn:Linear",
}


@pytest.fixture(autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example's architectures, and some of a house of its own."""
    monkeypatch.syspath_prepend(str(install_examples(tmp_path_factory.mktemp("examples"))))
    monkeypatch.syspath_prepend(str(install(tmp_path_factory.mktemp("house"), "house", ENTRIES, SOURCE)))


def perceptron(seed: int = 0) -> Perceptron:
    torch.manual_seed(seed)
    return Perceptron(WIDTHS, dropout=0.5)


def load(folder: Path) -> dict[str, Tensor]:
    return safetensors.torch.load_file(folder / "weights.safetensors")  # noqa: TID251 - what the test wrote itself


def test_the_artifact_holds_the_weights_and_says_what_builds_their_module(tmp_path: Path) -> None:
    module = perceptron()
    artifact = package(module, example=ROWS, reference=ROWS, architecture=MLP, to=tmp_path / "m", max_batch=64)
    manifest = artifact.manifest

    assert {path.name for path in artifact.path.iterdir()} == {"model.json", "golden.npz", "weights.safetensors"}
    assert (manifest.kind, manifest.format_version, manifest.program) == (Kind.SAFETENSORS, 2, "weights.safetensors")
    assert (manifest.architecture, manifest.by_name, manifest.max_batch) == (MLP, False, 64)
    assert manifest.profile is not None
    assert verify(artifact.path) == artifact
    assert artifact.digest == "sha256:" + hashlib.sha256((artifact.path / "model.json").read_bytes()).hexdigest()
    assert json.loads((artifact.path / "model.json").read_bytes())["architecture"] == {
        "name": "mlp",
        "config": {"widths": WIDTHS},
    }

    built = build(MLP)
    fill(built, load(artifact.path), "mlp")
    golden = read_golden(artifact.path, loads((artifact.path / "model.json").read_bytes()))
    assert not built.training
    answer = built(torch.from_numpy(golden.inputs["input"])).detach().numpy()
    np.testing.assert_array_equal(answer, golden.outputs["output"])


def test_packaging_twice_gives_the_same_digest(tmp_path: Path) -> None:
    first, second = (package(perceptron(), example=ROWS, architecture=MLP, to=tmp_path / name) for name in "ab")

    assert first.digest == second.digest


def test_a_module_that_torch_cannot_trace(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = {"inputs": 4, "hidden": 8, "outputs": 3, "experts": 5}
    module = Experts(**config)
    architecture = Architecture("experts", config)

    with pytest.raises(PackageError, match=r"torch\.export refused the module"):
        package(module, example=ROWS, to=tmp_path / "program")
    artifact = package(module, example=ROWS, architecture=architecture, to=tmp_path / "weights")

    assert artifact.manifest.architecture == architecture
    module.eval()
    expected = module(torch.from_numpy(ROWS[:8])).detach().numpy()
    np.testing.assert_allclose(
        read_golden(artifact.path, artifact.manifest).outputs["output"], expected, rtol=1e-5, atol=1e-6
    )


def test_weights_with_several_names_are_stored_under_each(tmp_path: Path) -> None:
    module = build(Architecture("tied"))
    artifact = package(module, example=ROWS, architecture=Architecture("tied"), to=tmp_path / "m")

    stored = load(artifact.path)
    torch.testing.assert_close(stored["back.weight"], stored["there.weight"].T)
    torch.testing.assert_close(stored["again.weight"], stored["there.weight"])


def test_inputs_by_name(tmp_path: Path) -> None:
    # In another order than forward's parameters.
    example = {"code": np.arange(20) % 5, "amounts": ROWS[:20]}
    module = build(Architecture("pair"))
    artifact = package(module, example=example, architecture=Architecture("pair"), to=tmp_path / "m")

    assert artifact.manifest.by_name
    assert [spec.name for spec in artifact.manifest.signature.inputs] == ["code", "amounts"]
    assert [spec.name for spec in artifact.manifest.signature.outputs] == ["first", "second"]


def linear(dtype: torch.dtype = torch.float32) -> nn.Module:
    return nn.Linear(4, 3, dtype=dtype)


def house(name: str, **config: Any) -> Callable[[], nn.Module]:
    return lambda: build(Architecture(name, config))


@pytest.mark.parametrize(
    ("make", "architecture", "message"),
    [
        (perceptron, Architecture("mlpp"), "'mlpp' is not installed here: install the package"),
        (
            perceptron,
            Architecture("nowhere"),
            r"\(no_such_house:make in house 1\.0\) can't be imported: ModuleNotFound",
        ),
        (perceptron, Architecture("absent"), "can't be imported: AttributeError"),
        (perceptron, Architecture("raises"), "can't be built from its config: RuntimeError: no such layer$"),
        (perceptron, Architecture("leaves"), "can't be built from its config: SystemExit: no licence"),
        (perceptron, Architecture("mlp", {"width": 4}), "can't be built from its config: TypeError: .*'width'"),
        (perceptron, Architecture("text"), "gave a str instead of a torch module"),
        (
            perceptron,
            Architecture("mlp", {"widths": [4, 3]}),
            r"not those of the architecture 'mlp': it has no 'layers.3.bias', 'layers.3.weight'$",
        ),
        (
            perceptron,
            Architecture("mlp", {"widths": [4, 8, 8, 8, 3]}),
            r"they lack 'layers.6.bias', 'layers.6.weight', 'layers.9.bias' and 1 more$",
        ),
        (
            linear,
            Architecture("scaled"),
            "they lack 'linear.bias', 'linear.weight', and it has no 'bias', 'weight'$",
        ),
        (
            perceptron,
            Architecture("mlp", {"widths": [4, 9, 3]}),
            r"'layers.0.weight' is float32 \[8, 4\], its own is float32 \[9, 4\]",
        ),
        (
            house("scaled", factor=2.0),
            Architecture("scaled"),
            "'scaled', with these weights and a batch of 1, answers differently from the module: its config must say",
        ),
        (
            house("pair", names=["a", "b"]),
            Architecture("pair"),
            "'pair', with these weights and a batch of 1, answers differently",
        ),
        (linear, Architecture("lazy"), "'lazy' has 'layers.weight' in its state, which is no plain tensor"),
        (house("stateful"), Architecture("stateful"), "the module has '_extra_state' in its state, which is no plain"),
    ],
)
def test_weights_that_are_not_the_architectures(
    make: Callable[[], nn.Module], architecture: Architecture, message: str, tmp_path: Path
) -> None:
    module = make()
    example = {"amounts": ROWS, "code": np.arange(50) % 5} if architecture.name == "pair" else ROWS

    with pytest.raises(PackageError, match=message):
        package(module, example=example, architecture=architecture, to=tmp_path / "m")

    assert list(tmp_path.iterdir()) == []


def test_rows_are_looked_at_as_for_programs(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="max_batch: 4 is too small"):
        package(perceptron(), example=ROWS, architecture=MLP, max_batch=4, to=tmp_path / "m")
    with pytest.raises(PackageError, match="NaN or infinite for the golden rows"):
        package(perceptron(), example=ROWS * np.float32(np.nan), architecture=MLP, to=tmp_path / "m")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_weights_are_not_converted(tmp_path: Path, dtype: torch.dtype) -> None:
    architecture = Architecture("linear", {"in_features": 4, "out_features": 3})
    name = str(dtype).removeprefix("torch.")
    with pytest.raises(PackageError, match=rf"'weight' is {name} \[3, 4\], its own is float32 \[3, 4\]$"):
        package(linear(dtype=dtype), example=ROWS.astype(np.float64), architecture=architecture, to=tmp_path / "m")
