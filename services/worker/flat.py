"""An exported program as one plain function.

The code that torch.fx makes looks every parameter up in its module and goes through a Python call for each operator,
at each batch; a small program spends most of its time so. Here parameters and operators are looked up once.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.fx import Node


def flatten(module: torch.fx.GraphModule) -> Callable[..., Any]:
    """A function that does what `module.forward` does, with the parameters that the module has now.

    Args:
        module: of plain operators, as `torch.export` makes it; its graph has one output node.

    Raises:
        ValueError: the graph holds calls of modules or methods, which no exported program does.
    """
    writer = _Writer(module)
    for node in module.graph.nodes:
        writer.add(node)
    namespace = writer.namespace
    exec(compile("\n".join(writer.lines), "<program>", "exec"), namespace)  # noqa: S102 - names only, made here
    made: Callable[..., Any] = namespace["forward"]
    return made


class _Writer:
    """Source of names alone: every constant, parameter and operator is in the namespace under a name made here."""

    def __init__(self, module: torch.fx.GraphModule) -> None:
        self._module = module
        self._names: dict[Node, str] = {}
        self._last_uses: dict[Node, list[Node]] = {}
        self.namespace: dict[str, Any] = {}
        self.lines: list[str] = []
        self._find_last_uses()
        taken = [node for node in module.graph.nodes if node.op == "placeholder"]
        self._names.update({node: f"x{number}" for number, node in enumerate(taken)})
        self.lines.append(f"def forward({', '.join(self._names[node] for node in taken)}):")

    def add(self, node: Node) -> None:
        """One node's line."""
        match node.op:
            case "placeholder":
                return
            case "get_attr":
                self._names[node] = self._constant(_attribute(self._module, str(node.target)))
                return
            case "output":
                self.lines.append(f"    return {self._written(node.args[0])}")
                return
            case "call_function":
                pass
            case _:
                raise ValueError(f"the program's graph calls {node.target!r} as a {node.op.removeprefix('call_')}")
        target = node.target
        # What OpOverload.__call__ calls; the dispatcher behind it is the same.
        called = self._constant(target._op if isinstance(target, torch._ops.OpOverload) else target)  # noqa: SLF001
        arguments = [self._written(one) for one in node.args]
        for key, value in node.kwargs.items():
            # The one thing of a program's own that gets into the source.
            if not key.isidentifier():
                raise ValueError(f"the program's graph names an argument {key!r}")
            arguments.append(f"{key}={self._written(value)}")
        name = self._names[node] = f"v{len(self._names)}"
        self.lines.append(f"    {name} = {called}({', '.join(arguments)})")
        # Memory of what no later line needs is free for them.
        self.lines.extend(f"    {self._names[used]} = None" for used in self._last_uses.get(node, ()))

    def _find_last_uses(self) -> None:
        last: dict[Node, Node] = {}
        for node in self._module.graph.nodes:
            for used in node.all_input_nodes:
                last[used] = node
        for used, user in last.items():
            if used.op == "call_function" and user.op != "output":
                self._last_uses.setdefault(user, []).append(used)

    def _written(self, argument: Any) -> str:
        match argument:
            case Node():
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


def _attribute(module: torch.nn.Module, path: str) -> Any:
    found: Any = module
    for part in path.split("."):
        found = getattr(found, part)
    return found
