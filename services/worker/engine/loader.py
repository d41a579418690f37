"""The only file that reads a stored program, or stored weights."""

import io
import zipfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch.fx.graph import CodeGen

from crossfade.architecture import Architecture, ArchitectureError
from crossfade.artifact.building import build, fill
from crossfade.artifact.tensors import output_tensors
from crossfade.manifest import Manifest
from services.common.text import first_line
from services.worker.artifacts import vetting
from services.worker.artifacts.vetting_weights import vet_weights
from services.worker.domain import LoadError
from services.worker.engine.flat import Forward
from services.worker.engine.nan_in_matrices import keep_nan_out


def load_program(folder: Path, manifest: Manifest, architectures: Collection[str] = ()) -> torch.nn.Module:
    """The artifact's program as a module that takes and gives tensors in the signature's order, as a flat list.

    Args:
        folder: the artifact.
        manifest: the artifact's.
        architectures: names of those that may be built; the packages of others are never imported.

    Raises:
        LoadError: the program cannot be read, holds what could run code, or does not fit the signature; or the weights'
            architecture is not allowed, not installed, or another one.
    """
    if manifest.architecture is None:
        return _load_exported(folder / manifest.program, manifest)
    return _load_weights(folder / manifest.program, manifest, manifest.architecture, architectures)


def _load_weights(
    path: Path, manifest: Manifest, architecture: Architecture, allowed: Collection[str]
) -> torch.nn.Module:
    if architecture.name not in allowed:
        raise LoadError(
            f"its weights are for the architecture {architecture.name!r}, which this Worker may not build: install its "
            f"package beside the Worker, add the name to CROSSFADE_ARCHITECTURES (now {','.join(sorted(allowed))!r}), "
            "and start the Worker again"
        )
    vet_weights(path)
    try:
        module = build(architecture)
        fill(module, safetensors.torch.load_file(path), architecture.name)  # noqa: TID251 - the one place; vetted above
    except ArchitectureError as error:
        raise LoadError(str(error)) from error
    except Exception as error:
        raise LoadError(f"the weights cannot be read: {type(error).__name__}: {first_line(error)[:300]}") from error
    return _Architecture(module, manifest)


class _Architecture(torch.nn.Module):
    """An architecture's module, called as a program is."""

    def __init__(self, module: torch.nn.Module, manifest: Manifest) -> None:
        super().__init__()
        self.module = module
        self._names = [spec.name for spec in manifest.signature.inputs] if manifest.by_name else None
        self._outputs = len(manifest.signature.outputs)

    def forward(self, *inputs: torch.Tensor) -> list[torch.Tensor]:
        """Tensors in the signature's order, in and out."""
        if self._names is None:
            raw = self.module(*inputs)
        else:
            raw = self.module(**dict(zip(self._names, inputs, strict=True)))
        outputs = list(output_tensors(raw).values())
        if len(outputs) != self._outputs:
            raise ValueError(f"the module gave {len(outputs)} tensors, its manifest says {self._outputs}")
        return outputs


def _load_exported(path: Path, manifest: Manifest) -> torch.fx.GraphModule:
    """An exported program.

    What a caller of one pays on every call is taken out: guards of the inputs (requests are checked against the
    signature), and the packing and unpacking of the author's containers. Assertions about dtypes are taken out too,
    because autocast changes dtypes on purpose. What would end the process of NaN is kept from it.
    """
    vetting.vet(path)
    try:
        program = torch.export.load(io.BytesIO(path.read_bytes()))  # noqa: TID251 - the one place; vetted above
        # Without guards: they are stored as Python code.
        module = program.module(check_guards=False)
    except Exception as error:
        raise LoadError(
            f"torch {torch.__version__} cannot load the program (made with torch {manifest.torch}): "
            f"{type(error).__name__}: {first_line(error)[:300]}"
        ) from error
    _simplify(module, len(manifest.signature.inputs), len(manifest.signature.outputs))
    return module


def load_compiled(path: Path, device: torch.device, example: Sequence[torch.Tensor]) -> Forward:
    """A program as AOTInductor compiled it; native code, so only what this version's own compiler has just written.

    torch's own loader unpacks it into /tmp, where a process that is killed leaves it, and where many machines allow no
    native code.

    Args:
        path: the package; it is unpacked beside it, and neither is needed any more afterwards.
        device: what it was compiled for.
        example: inputs, on the device: the kernels for a GPU are read at the first run.

    Raises:
        RuntimeError: it cannot be loaded or run.
    """
    folder = path.with_suffix(".unpacked")
    with zipfile.ZipFile(path) as package:
        package.extractall(folder)
    (library,) = folder.rglob("*.wrapper.so")
    runners: Any = torch._C._aoti  # noqa: SLF001 - what torch's own loader calls
    if device.type == "cuda":
        # The last one: without what makes threads wait for one another, which no CUDA graph can hold.
        run = runners.AOTIModelContainerRunnerCuda(str(library), 1, str(device), str(library.parent), True).run
    else:
        run = runners.AOTIModelContainerRunnerCpu(str(library), 1).run
    run(list(example))
    if device.type == "cuda":
        # What the first run leaves for the later ones is made on this stream, and they have streams of their own.
        torch.cuda.synchronize(device)
    return lambda *inputs: run(list(inputs))


def _simplify(module: torch.fx.GraphModule, inputs: int, outputs: int) -> None:
    graph = module.graph
    module._forward_pre_hooks.clear()  # noqa: SLF001 - the checks of inputs; torch has no public way to leave them out
    for node in list(graph.nodes):
        if str(node.target) == "aten._assert_tensor_metadata.default":
            graph.erase_node(node)
    keep_nan_out(module)
    graph.set_codegen(CodeGen())
    taken = sum(node.op == "placeholder" for node in graph.nodes)
    given = next(node for node in graph.nodes if node.op == "output").args[0]
    leaves = len(given) if isinstance(given, Sequence) else 1
    if (taken, leaves) != (inputs, outputs):
        raise LoadError(
            f"the program takes {taken} and gives {leaves} tensors, its manifest says {inputs} and {outputs}"
        )
    module.recompile()
