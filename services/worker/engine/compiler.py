"""A process that compiles one program ahead of time: `python -m services.worker.engine.compiler`, a job on its stdin.

By AOTInductor (`torch.export`, "AOTInductor: Ahead-Of-Time Compilation"), which writes C++, and Triton's kernels for a
GPU, and has a compiler make native code of them. So nothing that an artifact says gets into that source: the graph is
copied node by node under names made here and traced anew, so that all else in it is torch's own.
"""

import contextlib
import json
import operator
import os
import re
import select
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_aggregate

from crossfade.manifest import MANIFEST_FILE, loads
from services.common.text import first_line
from services.worker.domain import LoadError
from services.worker.engine.engine import MIXED, TORCH
from services.worker.engine.flat import attribute
from services.worker.engine.loader import load_program
from services.worker.engine.native_operators import NATIVE, WHOLE_NUMBERS
from services.worker.engine.placement import place

_CONFIG: Final = {
    # What depends on weights alone, their casts above all, is computed once and not at each batch.
    "aot_inductor.use_runtime_constant_folding": True,
    # There is one program to compile, and no other that would use them.
    "aot_inductor.precompile_headers": False,
}
_EXAMPLE_ROWS: Final = 8
_WORD: Final = re.compile(r"[a-z0-9_]*")
_EQUATION: Final = re.compile(r"[A-Za-z,.> -]*")
_PLAIN: Final = (int, float, complex, torch.dtype, torch.device, torch.layout, torch.memory_format)


def main() -> int:
    """Compiles as the job says, and says on its stdout what went wrong, if something did."""
    job = json.load(sys.stdin)
    threading.Thread(target=_end_with, args=(job["parent"],), name="parent", daemon=True).start()
    answers = sys.stdout
    # What compilers print is nobody's.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            _compile(job)
        except Exception as error:  # noqa: BLE001 - the version runs without, and says why
            kind = "" if isinstance(error, LoadError) else f"{type(error).__name__}: "
            answers.write(f"{kind}{first_line(error)[:200]}")
            return 1
    return 0


def _end_with(parent: int) -> None:
    """Ends this process and all that it has started, a compiler of C++ among them, when its parent has ended."""
    with contextlib.suppress(ProcessLookupError):
        select.select([os.pidfd_open(parent)], [], [])
    os.killpg(os.getpid(), signal.SIGKILL)


def _compile(job: dict[str, Any]) -> None:
    folder, device = Path(job["folder"]), torch.device(job["device"])
    torch.set_num_threads(job["threads"])
    manifest = loads((folder / MANIFEST_FILE).read_bytes())
    module = load_program(folder, manifest)
    if not isinstance(module, GraphModule):
        raise LoadError("only exported programs are compiled")
    mixed = MIXED.get(job["precision"])
    program = _Program(with_own_names(module), device, mixed)
    place(program, device)
    most = int(job["rows"])
    rows = min(_EXAMPLE_ROWS, most)
    example = tuple(
        torch.zeros((rows, *spec.shape[1:]), dtype=TORCH[spec.dtype], device=device)
        for spec in manifest.signature.inputs
    )
    dynamic = {0: torch.export.Dim("rows", min=1, max=most)} if most > 1 else {}
    with torch.no_grad():
        exported = torch.export.export(
            program, example, dynamic_shapes={"inputs": tuple(dynamic for _ in example)}, strict=False
        )
        torch._inductor.aoti_compile_and_package(exported, package_path=job["to"], inductor_configs=_CONFIG)  # noqa: SLF001 - documented so


class _Program(torch.nn.Module):
    """A graph in the precision that it is to run in."""

    def __init__(self, inner: GraphModule, device: torch.device, mixed: torch.dtype | None) -> None:
        super().__init__()
        self.inner = inner
        self._autocast: Any = contextlib.nullcontext
        if mixed is not None:
            self._autocast = lambda: torch.autocast(device.type, dtype=mixed)

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Tensors in the signature's order, in and out."""
        with self._autocast():
            return tuple(self.inner(*inputs))


def with_own_names(module: GraphModule) -> GraphModule:
    """A copy of a program's graph that has no name, no note and no text of its author's.

    Raises:
        LoadError: it calls something else than torch's operators, or gives one a text that is no word.
    """
    graph, held = Graph(), torch.nn.Module()
    copies: dict[Node, Node] = {}
    for node in module.graph.nodes:
        name = f"v{len(copies)}"
        if node.op == "placeholder":
            copies[node] = graph.placeholder(name)
        elif node.op == "get_attr":
            value = attribute(module, str(node.target))
            if not isinstance(value, torch.Tensor):
                raise LoadError("the program's graph branches or repeats")
            held.register_buffer(name, value.detach())
            copies[node] = graph.get_attr(name)
        elif node.op == "output":
            graph.output(_copied(node.args[0], copies))
        elif _is_native(node.target):
            words = _EQUATION if node.target is torch.ops.aten.einsum.default else _WORD
            copies[node] = graph.call_function(
                node.target,
                _copied(node.args, copies, words),
                {_word(k): _copied(v, copies) for k, v in node.kwargs.items()},
            )
        else:
            raise LoadError(f"the program calls {str(node.target)[:60]}, which is none of what is compiled")
    return GraphModule(held, graph)


def _is_native(target: Any) -> bool:
    """Whether it is an operator that is compiled, or one of Python's on numbers of rows."""
    if isinstance(target, torch._ops.OpOverload):  # noqa: SLF001 - torch has no public name for it
        namespace, name, overload = str(target).split(".")
        plain = name.removesuffix("_")
        return namespace == "aten" and plain in NATIVE and f"{plain}.{overload}" not in WHOLE_NUMBERS
    return target in (operator.getitem, operator.mul)


def _copied(argument: Any, copies: Mapping[Node, Node], words: re.Pattern[str] = _WORD) -> Any:
    def copied(leaf: Any) -> Any:
        if isinstance(leaf, Node):
            return copies[leaf]
        if isinstance(leaf, str):
            return _word(leaf, words)
        if leaf is None or isinstance(leaf, _PLAIN):
            return leaf
        raise LoadError(f"the program's graph gives an operator a {type(leaf).__name__}")

    return map_aggregate(argument, copied)


def _word(text: str, words: re.Pattern[str] = _WORD) -> str:
    """A text that can end no string of a source, such as the name of a way to round."""
    if words.fullmatch(text) is None:
        raise LoadError(f"the program's graph holds the text {text[:60]!r}")
    return text


if __name__ == "__main__":
    sys.exit(main())
