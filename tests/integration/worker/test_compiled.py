"""Programs as native code: the same answers, no faster than they are, and nothing of an artifact's in their source."""

import asyncio
import contextlib
import fcntl
import io
import operator as operator_module
import os
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from torch import nn
from torch.fx import Graph, GraphModule

from crossfade.artifact import package, read_golden
from crossfade.manifest import MANIFEST_FILE, Manifest, Precision, loads
from services.common.clock import SystemClock
from services.worker.artifacts.locked import lock_folder
from services.worker.domain import LoadError
from services.worker.engine.compiler import with_own_names
from services.worker.engine.compiling import compile_program
from services.worker.engine.engine import Engine
from services.worker.engine.flat import Forward
from services.worker.engine.loader import load_program
from services.worker.engine.verify import prepare
from services.worker.settings import WorkerSettings
from tests.fakes.models import CLASSES, Noting, Packaged, reference_rows, scores_of
from tests.fakes.registry import FakeRegistry, lane
from tests.integration.worker.gpu_modules import Attention, Images, Mixing, Recurrent, drawn
from tests.support.processes import is_alive
from tests.support.wait import until

pytestmark = [
    pytest.mark.skipif(shutil.which("g++") is None, reason="this machine has no C++ compiler (g++)"),
    # g++ takes half a minute on an idle machine, and minutes on a busy one.
    pytest.mark.timeout(400),
]
_COMPILED_SECONDS = 300.0
CPU = torch.device("cpu")


def packaged(to: Path, module: nn.Module, example: Any, **more: Any) -> Manifest:
    package(module, example=example, task="other", to=to, **more)
    return loads((to / MANIFEST_FILE).read_bytes())


def compiled(
    folder: Path, manifest: Manifest, precision: Precision = Precision.FP32, *, seconds: float = 2 * _COMPILED_SECONDS
) -> tuple[Engine, Forward]:
    """An engine, and its program as native code for batches of 16 rows."""
    engine = Engine(load_program(folder, manifest), manifest, CPU)
    engine.settle(precision)
    cache = folder.parent / "cache"
    settings = WorkerSettings(artifact_cache=cache, load_seconds=seconds)
    example = [array[:1] for array in read_golden(folder, manifest).inputs.values()]
    try:
        return engine, compile_program(folder, engine, settings, example, 16)
    finally:
        assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "module", "precision", "near"),
    [
        ("mixing", Mixing(), Precision.FP32, 1e-4),
        ("images", Images(), Precision.BF16, 5e-2),
    ],
)
def test_what_is_compiled_answers_as_the_program_does(
    tmp_path: Path, name: str, module: nn.Module, precision: Precision, near: float
) -> None:
    manifest = packaged(tmp_path / name, module, drawn(name, 8))
    engine, forward = compiled(tmp_path / name, manifest, precision)
    engine.take(forward)
    plain = Engine(load_program(tmp_path / name, manifest), manifest, CPU)
    for count in (1, 3, 8, 13, 16):
        given = drawn(name, count, count)
        for here, there in zip(engine.run(given).arrays, plain.run(given, precision).arrays, strict=True):
            assert here.shape == there.shape
            found, wanted = (one.view(np.int16) if one.dtype.kind == "V" else one for one in (here, there))
            np.testing.assert_allclose(found, wanted, rtol=near, atol=near)


def linear(to: Path) -> Manifest:
    return packaged(to, nn.Linear(4, 2), reference_rows(8)[:, :4])


def test_without_a_compiler_or_time_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = linear(tmp_path / "linear")
    monkeypatch.setenv("CXX", str(slow(tmp_path)))
    with pytest.raises(LoadError, match=r"that took longer than 10 s, half of CROSSFADE_LOAD_SECONDS"):
        compiled(tmp_path / "linear", manifest, seconds=20.0)
    assert not [one for one in psutil.process_iter() if is_alive(one) and str(slow(tmp_path)) in named(one)]
    # One that is there, and compiles nothing.
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(LoadError, match="Error"):
        compiled(tmp_path / "linear", manifest)
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(LoadError, match=r"there is no C\+\+ compiler: install g\+\+ beside the Worker"):
        compiled(tmp_path / "linear", manifest)


_COMPILES = """
import sys
from pathlib import Path
from tests.integration.worker.test_compiled import compiled
from crossfade.manifest import MANIFEST_FILE, loads

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    compiled(folder, loads((folder / MANIFEST_FILE).read_bytes()))
"""


def slow(folder: Path) -> Path:
    """A compiler of C++ that takes a minute."""
    script = folder / "slow-g++"
    script.write_text("#!/bin/sh\nsleep 60\n")
    script.chmod(0o755)
    return script


def named(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


async def test_a_compiler_ends_with_the_process_that_it_works_for(tmp_path: Path) -> None:
    linear(tmp_path / "linear")
    command = [sys.executable, "-c", _COMPILES, str(tmp_path / "linear")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "CXX": str(slow(tmp_path))}
    process = await asyncio.create_subprocess_exec(*command, env=environment)
    of_it = psutil.Process(process.pid)

    at_work: list[psutil.Process] = []

    def compiles() -> bool:
        with contextlib.suppress(psutil.Error):
            at_work[:] = of_it.children(recursive=True)
        return any("sleep" in one.cmdline() for one in at_work)

    await until(compiles, 60)
    process.kill()
    await process.wait()
    await until(lambda: not any(map(is_alive, at_work)), 10)
    # What it has left is nobody's, and goes when the cache wants room.
    (left,) = (tmp_path / "cache").iterdir()
    assert lock_folder(left, fcntl.LOCK_EX) is not None


@pytest.mark.parametrize(
    ("name", "module", "operator"),
    [("attention", Attention(), "aten.embedding.default"), ("recurrent", Recurrent(), "aten.lstm.input")],
)
def test_what_looks_something_up_is_not_compiled(tmp_path: Path, name: str, module: nn.Module, operator: str) -> None:
    manifest = packaged(tmp_path / name, module, drawn(name, 8))
    with pytest.raises(LoadError, match=f"the program calls {operator}, which is none of what is compiled"):
        with_own_names(as_graph(load_program(tmp_path / name, manifest)))


def as_graph(module: nn.Module) -> GraphModule:
    assert isinstance(module, GraphModule)
    return module


def calls(operator: Any, *arguments: Any) -> GraphModule:
    """A program that calls one operator with what it is given, and further arguments."""
    graph = Graph()
    graph.output((graph.call_function(operator, (graph.placeholder("x"), *arguments)),))
    return GraphModule(nn.Module(), graph)


@pytest.mark.parametrize(
    ("operator", "arguments"),
    [
        # Each was seen to read beyond a tensor, or to end the process, as native code.
        (torch.ops.aten._unsafe_index.Tensor, ([None],)),
        (torch.ops.aten.index.Tensor, ([None],)),
        (torch.ops.aten.upsample_nearest2d.default, ([4, 4], 0.01, 0.01)),
        (torch.ops.aten.upsample_bilinear2d.default, ([4, 4], False, 0.01, 0.01)),
        (torch.ops.aten.item.default, ()),
        (torch.ops.aten.gather.default, (0, None)),
        (torch.ops.aten.as_strided.default, ([4], [1], 100)),
        (torch.ops.aten.div.Tensor_mode, (0,)),
        (torch.ops.prims.iota.default, ()),
        (operator_module.add, (1,)),
    ],
)
def test_what_could_read_elsewhere_is_not_compiled(operator: Any, arguments: Any) -> None:
    with pytest.raises(LoadError, match="none of what is compiled"):
        with_own_names(calls(operator, *arguments))


def test_the_equation_of_an_einsum_is_a_text_that_may_be() -> None:
    graph = Graph()
    x = graph.placeholder("x")
    graph.output((graph.call_function(torch.ops.aten.einsum.default, ("bd,de->be", [x, x])),))
    assert "bd,de->be" in str(with_own_names(GraphModule(nn.Module(), graph)).graph)


def test_what_keeps_something_from_batch_to_batch_is_not_compiled(tmp_path: Path) -> None:
    rows = np.zeros((8, 16), np.float32)
    manifest = packaged(tmp_path / "noting", Noting(16), rows)
    settings = WorkerSettings(device="cpu", precision=Precision.FP32, compile_programs=True, artifact_cache=tmp_path)
    report = prepare(tmp_path / "noting", manifest, settings, SystemClock(), 0.0).report
    assert "; not compiled, since it writes to what it holds or is given" in report.precision_reason


def hostile(text: str) -> GraphModule:
    """A program in which every name and note is that text."""
    exported = torch.export.export(nn.Linear(4, 2), (torch.zeros(2, 4),)).module(check_guards=False)
    assert isinstance(exported, GraphModule)
    for number, node in enumerate(exported.graph.nodes):
        node.meta = {"stack_trace": text, "nn_module_stack": {text: (text, text)}, "source_fn_stack": [(text, text)]}
        if node.op == "get_attr":
            value = exported.get_parameter(str(node.target))
            node.target = f"{text}{number}"
            setattr(exported, node.target, value)
        elif node.op == "placeholder":
            node.name, node.target = text, text
    return exported


def test_no_name_of_the_authors_gets_into_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    text = 'EVIL"); system("EVIL"); /* EVIL */ //\nEVIL'
    copy = with_own_names(hostile(text))
    exported = torch.export.export(copy, (torch.zeros(2, 4),), strict=False)
    to = tmp_path / "program.pt2"
    torch._inductor.aoti_compile_and_package(exported, package_path=str(to))
    sources = zipfile.ZipFile(io.BytesIO(to.read_bytes()))
    assert any(name.endswith(".cpp") for name in sources.namelist())
    for name in sources.namelist():
        assert b"EVIL" not in sources.read(name), name
        assert "EVIL" not in name


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda node: {"args": (*node.args, 'floor"); system("x')}, "holds the text"),
        (lambda node: {"args": (*node.args, object())}, "gives an operator a object"),
        (lambda node: {"kwargs": {'a") system("': 1}}, "holds the text"),
        (lambda _: {"target": print}, "none of what is compiled"),
        (lambda _: {"target": eval}, "none of what is compiled"),
    ],
)
def test_a_graph_that_is_not_all_torchs_is_not_compiled(change: Any, why: str) -> None:
    program = torch.export.export(nn.Linear(4, 2), (torch.zeros(2, 4),)).module(check_guards=False)
    assert isinstance(program, GraphModule)
    node = next(node for node in program.graph.nodes if node.op == "call_function" and "linear" in str(node.target))
    for name, value in change(node).items():
        setattr(node, name, value)
    with pytest.raises(LoadError, match=why):
        with_own_names(program)


async def test_a_worker_serves_what_was_compiled(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, want: Any, tmp_path: Path
) -> None:
    rows = reference_rows(5)
    layer = nn.Linear(rows.shape[1], len(CLASSES))
    artifact = package(layer, example=reference_rows(8), task="classification", classes=CLASSES, to=tmp_path / "layer")
    await registry.set_lanes(lane("scores", want(Packaged(artifact))))
    await start_worker(device="cpu", precision="fp32", compile_programs=True, load_seconds=2 * _COMPILED_SECONDS)
    caller = await caller_of("v1", seconds=_COMPILED_SECONDS)
    expected = layer(torch.from_numpy(rows)).detach().numpy()
    np.testing.assert_allclose(scores_of(await caller.predict(rows)), expected, rtol=1e-4, atol=1e-4)
    serving = registry.serving("scores", "v1")
    assert serving is not None
    reason = serving.load_report.precision_reason
    # Whether it was faster is the machine's to say.
    assert "times as fast in batches of 1" in reason, reason
