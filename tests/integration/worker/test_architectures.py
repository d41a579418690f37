"""Weights for an architecture, served by a real Worker; and what it says of those that it cannot serve."""

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import safetensors.torch
import torch
from torch import nn

from crossfade.artifact import Architecture, package, verify
from crossfade.manifest import MANIFEST_FILE, Kind, dumps
from crossfade.signing import make_signing_key, sign_artifact
from examples.architectures.example_architectures import Experts, Perceptron
from services.common.telemetry import catalog
from tests.fakes.models import CLASSES, Packaged, Rows, reference_rows, rewrite, scores_of
from tests.fakes.registry import FakeRegistry, lane
from tests.support.installing import install, install_examples
from tests.support.wait import until, until_async
from tests.support.worker import counted, metrics

EXPERTS = Architecture("experts", {"inputs": 4, "hidden": 8, "outputs": 3, "experts": 5})
MLP = Architecture("mlp", {"widths": [4, 8, 3]})

HOUSE = """
import os
from pathlib import Path

import torch
from torch import nn

MARK = Path(__file__).with_name("imported")
MARK.write_text(MARK.read_text() + f"{os.getpid()}\\n" if MARK.exists() else f"{os.getpid()}\\n")


class Linear(nn.Linear):
    def __init__(self, again=False):
        super().__init__(4, 3)
        if Path(__file__).with_name("broken").exists():
            raise RuntimeError("no such file")
        if Path(__file__).with_name("wider").exists():
            self.more = nn.Linear(4, 3)
        self.other = Path(__file__).with_name("other").exists()
        self.unequal = Path(__file__).with_name("unequal").exists()

    def forward(self, first, second=None):
        answer = super().forward(first)
        if second is not None:
            answer = answer - 3 * second[:, :3]
        if self.unequal:
            return answer, answer
        return answer * 2 if self.other else answer
"""


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The examples' package, and an operator's own, which files beside it change; its folder."""
    monkeypatch.syspath_prepend(str(install_examples(tmp_path / "examples")))
    folder = install(tmp_path / "house", "house_nets", {"linear": "house_nets:Linear"}, HOUSE)
    monkeypatch.syspath_prepend(str(folder))
    # Another test's package of the same name may be imported.
    monkeypatch.delitem(sys.modules, "house_nets", raising=False)
    return folder


def made(make: Callable[[], nn.Module], seed: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    return make().eval()


def packaged(module: nn.Module, architecture: Architecture, to: Path, **options: Any) -> Packaged:
    rows = reference_rows()
    options = {"example": rows[:16], "reference": rows, "classes": CLASSES, "max_batch": 64, **options}
    return Packaged(package(module, architecture=architecture, to=to, **options))


def linear(house: Path, to: Path, **options: Any) -> Packaged:
    """Weights for the operator's own architecture."""
    from crossfade.artifact.building import build

    torch.manual_seed(4)
    return packaged(build(Architecture("linear")), Architecture("linear"), to, **options)


def answers(module: nn.Module, rows: Rows) -> Rows:
    with torch.no_grad():
        scores: Rows = module(torch.from_numpy(rows)).numpy()
    return scores


async def has_counted(app: Any, count: int) -> bool:
    return counted(await metrics(app.address), catalog.PREDICTION_COUNT) == count


async def failed(registry: FakeRegistry, version: str = "v1") -> Any:
    await until(lambda: registry.state("scores", version) == "FAILED", 60)
    return registry.serving("scores", version)


@pytest.mark.parametrize(
    ("make", "architecture"),
    [
        (lambda: Perceptron([4, 8, 3], dropout=0.5), Architecture("mlp", {"widths": [4, 8, 3], "dropout": 0.5})),
        (lambda: Experts(4, 8, 3, 5), EXPERTS),
    ],
)
async def test_predictions_are_those_of_the_module(
    registry: FakeRegistry,
    start_worker: Any,
    caller_of: Any,
    want: Any,
    house: Path,
    tmp_path: Path,
    make: Callable[[], nn.Module],
    architecture: Architecture,
) -> None:
    module = made(make)
    await registry.set_lanes(lane("scores", want(packaged(module, architecture, tmp_path / "m"))))
    app = await start_worker(architectures="mlp,experts", max_batch=16)
    caller = await caller_of("v1")

    requests = [reference_rows(count, seed=count) for count in (1, 2, 3, 7, 16, 40)] * 3
    responses = await asyncio.gather(*[caller.predict(rows) for rows in requests])

    for rows, response in zip(requests, responses, strict=True):
        np.testing.assert_allclose(scores_of(response), answers(module, rows), rtol=1e-4, atol=1e-5)
    serving = registry.serving("scores", "v1")
    assert serving is not None
    assert serving.load_report.architecture == f"{architecture.name} of example_architectures 0.1.0"
    assert serving.load_report.precision == "fp32"
    count = sum(len(rows) for rows in requests)
    await until_async(lambda: has_counted(app, count))


async def test_inputs_that_go_by_name(
    registry: FakeRegistry, start_worker: Any, want: Any, house: Path, tmp_path: Path
) -> None:
    example = {"second": reference_rows(20, seed=1), "first": reference_rows(20, seed=2)}
    by_name = linear(house, tmp_path / "m", example=example, reference=example)
    await registry.set_lanes(lane("scores", want(by_name)))
    await start_worker(architectures="linear")
    # Its golden rows are answered, which they are not with inputs in this order.
    await until(lambda: registry.state("scores", "v1") == "READY", 60)

    swapped = replace(by_name.artifact.manifest, by_name=False)
    (by_name.artifact.path / MANIFEST_FILE).write_bytes(dumps(swapped))
    await registry.set_lanes(lane("scores", want(Packaged(verify(by_name.artifact.path)), "v2")))
    assert (await failed(registry, "v2")).error_code == "VERIFY_FAILED"


async def test_mixed_precision(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, want: Any, house: Path, tmp_path: Path
) -> None:
    module = made(lambda: Experts(4, 8, 3, 5))
    await registry.set_lanes(lane("scores", want(packaged(module, EXPERTS, tmp_path / "m", precision="bf16"))))
    await start_worker(architectures="experts")
    caller = await caller_of("v1")
    serving = registry.serving("scores", "v1")
    assert serving is not None
    assert serving.load_report.precision == "bf16", serving.load_report.precision_reason
    assert serving.load_report.mixed_seconds > 0
    rows = reference_rows(9)
    np.testing.assert_allclose(scores_of(await caller.predict(rows)), answers(module, rows), rtol=0.05, atol=0.05)


async def test_signed_weights(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, want: Any, house: Path, tmp_path: Path
) -> None:
    make_signing_key(tmp_path / "ours.key", tmp_path / "ours.pem")
    signed = packaged(made(lambda: Perceptron([4, 8, 3])), MLP, tmp_path / "m")
    sign_artifact(signed.artifact.path, tmp_path / "ours.key")
    await registry.set_lanes(lane("scores", want(signed)))
    await start_worker(architectures="mlp", trusted_keys=tmp_path / "ours.pem")
    assert (await (await caller_of("v1")).predict(reference_rows(1))).model_version == "v1"


async def test_what_is_not_listed_is_not_imported(
    registry: FakeRegistry, start_worker: Any, want: Any, house: Path, tmp_path: Path
) -> None:
    wanted = want(linear(house, tmp_path / "m"))
    (house / "imported").unlink()
    await registry.set_lanes(lane("scores", wanted))
    await start_worker(architectures="mlp")
    serving = await failed(registry)
    assert serving.error_code == "LOAD_FAILED"
    assert serving.error == (
        "its weights are for the architecture 'linear', which this Worker may not build: install its package beside "
        "the Worker, add the name to CROSSFADE_ARCHITECTURES (now 'mlp'), and start the Worker again"
    )
    assert not (house / "imported").exists()


async def test_what_is_listed_is_imported_in_its_versions_process_alone(
    registry: FakeRegistry, start_worker: Any, want: Any, house: Path, tmp_path: Path
) -> None:
    wanted = want(linear(house, tmp_path / "m"))
    (house / "imported").unlink()
    await registry.set_lanes(lane("scores", wanted))
    app = await start_worker(architectures="linear,mlp")
    await until(lambda: registry.state("scores", "v1") == "READY", 60)
    (engine,) = map(int, (house / "imported").read_text().split())
    assert psutil.Process(engine).ppid() in app.supervisor.pids().values()


async def test_an_architecture_that_is_not_installed(
    registry: FakeRegistry,
    start_worker: Any,
    want: Any,
    house: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wanted = want(linear(house, tmp_path / "m"))
    (house / "house_nets-1.0.dist-info" / "entry_points.txt").unlink()
    await registry.set_lanes(lane("scores", wanted))
    await start_worker(architectures="linear")
    assert "'linear' is not installed here: install the package that declares it" in (await failed(registry)).error
    assert "an allowed architecture cannot be built" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("file", "code", "words"),
    [
        ("broken", "LOAD_FAILED", "(house_nets:Linear in house_nets 1.0) can't be built from its config: RuntimeError"),
        ("wider", "LOAD_FAILED", "not those of the architecture 'linear': they lack 'more.bias', 'more.weight'"),
        ("other", "VERIFY_FAILED", "times the tolerance"),
        ("unequal", "VERIFY_FAILED", "the module gave 2 tensors, its manifest says 1"),
    ],
)
async def test_an_architecture_that_is_another_one_here(
    registry: FakeRegistry, start_worker: Any, want: Any, house: Path, tmp_path: Path, file: str, code: str, words: str
) -> None:
    wanted = want(linear(house, tmp_path / "m"))
    (house / file).touch()
    await registry.set_lanes(lane("scores", wanted))
    await start_worker(architectures="linear")
    serving = await failed(registry)
    assert (serving.error_code, words in serving.error) == (code, True), serving.error


def halved(data: bytes) -> bytes:
    length = 8 + int.from_bytes(data[:8], "little")
    return data[: length + (len(data) - length) // 2]


def renamed(data: bytes) -> bytes:
    return data.replace(b'"bias"', b'"Bias"')


def twice(data: bytes) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    text = json.dumps(header)[:-1] + ',"bias":' + json.dumps(header["bias"]) + "}"
    return len(text).to_bytes(8, "little") + text.encode() + data[8 + length :]


def half(data: bytes) -> bytes:
    weights = safetensors.torch.load(data)  # noqa: TID251 - what the test wrote itself
    return safetensors.torch.save({name: tensor.half() for name, tensor in weights.items()})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (halved, "weights.safetensors has a header that cannot be used: tensors: they take"),
        (renamed, "they lack 'bias', and it has no 'Bias'"),
        (twice, "the field 'bias' occurs twice"),
        (half, "'weight' is float16 [3, 4], its own is float32 [3, 4]"),
        (lambda _: b"cos\nsystem\n(S'id'\ntR.", "weights.safetensors is no safetensors file or is cut short"),
        (lambda data: data[:-1] + b"\x42", "times the tolerance"),
    ],
)
async def test_weights_that_were_made_otherwise(
    registry: FakeRegistry,
    start_worker: Any,
    want: Any,
    house: Path,
    tmp_path: Path,
    change: Callable[[bytes], bytes],
    words: str,
) -> None:
    good = linear(house, tmp_path / "m")
    data = (good.artifact.path / "weights.safetensors").read_bytes()
    changed = rewrite(good, tmp_path / "x", {"weights.safetensors": change(data)})
    assert changed.artifact.manifest.kind is Kind.SAFETENSORS
    await registry.set_lanes(lane("scores", want(changed)))
    await start_worker(architectures="linear")
    assert words in (await failed(registry)).error
