"""An exported program as one plain function.

The code that torch.fx makes looks every parameter up in its module and goes through a Python call for each operator,
at each batch; a small program spends most of its time so. Here parameters and operators are looked up once.

In mixed precision autocast casts weights anew at each batch, for it remembers only those that are being trained. For a
batch of one row that is most of the work, so here weights are cast once, to the same bits.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch.fx import Node

Forward = Callable[..., Any]
"""A program: tensors in the signature's order, in and out."""

# What autocast runs in the lower precision on CPUs and CUDA alike ("Autocast Op Reference").
_LOWER: Final = frozenset(
    getattr(torch.ops.aten, name)
    for name in (
        *("linear", "matmul", "mm", "bmm", "addmm", "addbmm", "baddbmm", "scaled_dot_product_attention"),
        *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    )
)


@dataclass(frozen=True, slots=True)
class Source:
    """A program as the source of one function.

    Attributes:
        text: names made here, and nothing of the program's own but the names of arguments.
        names: what they stand for.
        operators: those of them that are torch's operators, by name, as in `aten.linear.default`.
    """

    text: str
    names: Mapping[str, Any]
    operators: Mapping[str, str]

    def function(self) -> Forward:
        """The function."""
        namespace = dict(self.names)
        exec(compile(self.text, "<program>", "exec"), namespace)  # noqa: S102 - names only, made here
        made: Forward = namespace["forward"]
        return made


def flatten(module: torch.fx.GraphModule, mixed: torch.dtype | None = None) -> Forward:
    """The function of `source_of`."""
    return source_of(module, mixed).function()


def source_of(module: torch.fx.GraphModule, mixed: torch.dtype | None = None) -> Source:
    """The source of a function that does what `module.forward` does, with the parameters that the module has now.

    Args:
        module: of plain operators, as `torch.export` makes it; its graph has one output node.
        mixed: the precision that it is to run in under autocast; None: as it is.

    Raises:
        ValueError: the graph holds calls of modules or methods, which no exported program does.
    """
    writer = _Writer(module, mixed)
    for node in module.graph.nodes:
        writer.add(node)
    return Source("\n".join(writer.lines), writer.namespace, writer.operators)


class _Writer:
    """Source of names alone: every constant, parameter and operator is in the namespace under a name made here."""

    def __init__(self, module: torch.fx.GraphModule, mixed: torch.dtype | None) -> None:
        self._module = module
        self._mixed = mixed
        self._names: dict[Node, str] = {}
        self._cast: dict[Node, str] = {}
        self._last_uses: dict[Node, list[Node]] = {}
        self.namespace: dict[str, Any] = {}
        self.operators: dict[str, str] = {}
        self.lines: list[str] = []
        self._find_last_uses()
        taken = [node for node in module.graph.nodes if node.op == "placeholder"]
        self._names.update({node: f"x{number}" for number, node in enumerate(taken)})
        self.lines.append(f"def forward({', '.join(self._names[node] for node in taken)}):")

    def add(self, node: Node) -> None:
        """One node's line."""
        match node.op:
            case "placeholder" | "get_attr":
                return
            case "output":
                self.lines.append(f"    return {self._written(node.args[0])}")
                return
            case "call_function":
                pass
            case _:
                raise ValueError(f"the program's graph calls {node.target!r} as a {node.op.removeprefix('call_')}")
        target = node.target
        called = self._called(target)
        lower = self._mixed is not None and getattr(target, "overloadpacket", None) in _LOWER
        arguments = [self._weight(one) if lower else self._written(one) for one in node.args]
        for key, value in node.kwargs.items():
            # The one thing of a program's own that gets into the source.
            if not key.isidentifier():
                raise ValueError(f"the program's graph names an argument {key!r}")
            arguments.append(f"{key}={self._written(value)}")
        name = self._names[node] = f"v{len(self._names)}"
        self.lines.append(f"    {name} = {called}({', '.join(arguments)})")
        # Memory of what no later line needs is free for them.
        self.lines.extend(f"    {self._names[used]} = None" for used in self._last_uses.get(node, ()))

    def _called(self, target: Any) -> str:
        if not isinstance(target, torch._ops.OpOverload):  # noqa: SLF001 - torch has no public name for it
            return self._constant(target)
        # What OpOverload.__call__ calls; the dispatcher behind it is the same.
        name = self._constant(target._op)  # noqa: SLF001
        self.operators[name] = str(target)
        return name

    def _find_last_uses(self) -> None:
        last: dict[Node, Node] = {}
        for node in self._module.graph.nodes:
            for used in node.all_input_nodes:
                last[used] = node
        for used, user in last.items():
            if used.op == "call_function" and user.op != "output":
                self._last_uses.setdefault(user, []).append(used)

    def _weight(self, argument: Any) -> str:
        """An argument of an operator that autocast casts the arguments of."""
        if not (isinstance(argument, Node) and argument.op == "get_attr"):
            return self._written(argument)
        value = attribute(self._module, str(argument.target))
        if not (isinstance(value, torch.Tensor) and value.dtype is torch.float32):
            return self._written(argument)
        if argument not in self._cast:
            self._cast[argument] = self._constant(value.detach().to(self._mixed))
        return self._cast[argument]

    def _written(self, argument: Any) -> str:
        match argument:
            case Node():
                # Only what is used is held: a weight that was cast is there once.
                if argument.op == "get_attr" and argument not in self._names:
                    self._names[argument] = self._constant(attribute(self._module, str(argument.target)))
                return self._names[argument]
            case tuple():
                return "(" + "".join(f"{self._written(one)}, " for one in argument) + ")"
            case list():
                return "[" + ", ".join(map(self._written, argument)) + "]"
            case dict():
                return "{" + ", ".join(f"{self._constant(k)}: {self._written(v)}" for k, v in argument.items()) + "}"
            case slice():
                parts = (argument.start, argument.stop, argument.step)
                return f"{self._constant(slice)}({', '.join(map(self._written, parts))})"
            case _:
                return self._constant(argument)

    def _constant(self, value: object) -> str:
        name = f"c{len(self.namespace)}"
        self.namespace[name] = value
        return name


def attribute(module: torch.nn.Module, path: str) -> Any:
    """What a `get_attr` node's target names."""
    found: Any = module
    for part in path.split("."):
        found = getattr(found, part)
    return found
