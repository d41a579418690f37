"""The only file that reads a stored program."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.fx.graph import CodeGen

from crossfade.manifest import Manifest
from services.worker import vetting
from services.worker.domain import LoadError


def load_program(folder: Path, manifest: Manifest) -> torch.fx.GraphModule:
    """The artifact's program as a module that takes and gives tensors in the signature's order, as a flat list.

    What a caller of an exported program pays on every call is taken out: guards of the inputs (requests are checked
    against the signature), and the packing and unpacking of the author's containers. Assertions about dtypes are
    taken out too, because autocast changes dtypes on purpose.

    Raises:
        LoadError: the program cannot be read, holds what could run code, or does not fit the signature.
    """
    path = folder / manifest.program
    vetting.vet(path)
    try:
        program = torch.export.load(io.BytesIO(path.read_bytes()))  # noqa: TID251 - the one place; vetted above
        # Without guards: they are stored as Python code.
        module = program.module(check_guards=False)
    except Exception as error:
        raise LoadError(
            f"torch {torch.__version__} cannot load the program (made with torch {manifest.torch}): "
            f"{type(error).__name__}: {_first_line(error)}"
        ) from error
    _simplify(module, len(manifest.signature.inputs), len(manifest.signature.outputs))
    return module


def _simplify(module: torch.fx.GraphModule, inputs: int, outputs: int) -> None:
    graph = module.graph
    module._forward_pre_hooks.clear()  # noqa: SLF001 - the checks of inputs; torch has no public way to leave them out
    for node in list(graph.nodes):
        if str(node.target) == "aten._assert_tensor_metadata.default":
            graph.erase_node(node)
    graph.set_codegen(CodeGen())
    taken = sum(node.op == "placeholder" for node in graph.nodes)
    given = next(node for node in graph.nodes if node.op == "output").args[0]
    leaves = len(given) if isinstance(given, Sequence) else 1
    if (taken, leaves) != (inputs, outputs):
        raise LoadError(
            f"the program takes {taken} and gives {leaves} tensors, its manifest says {inputs} and {outputs}"
        )
    module.recompile()


def _first_line(error: BaseException) -> str:
    lines: list[Any] = str(error).splitlines()
    return str(lines[0])[:300] if lines else ""
