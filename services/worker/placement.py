"""A program on a device, wherever it was exported."""

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch.fx import Node
from torch.fx.node import map_aggregate


def place(module: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """The module, changed so that it runs on that device.

    Parameters and buffers move as torch moves them. An exported program also holds constants that are neither; its
    graph names the device of each tensor that it makes itself; and it has views where the device that it was exported
    on happened to leave values in an order in memory that allows for them, as another device's operators may not.
    """
    for part in module.modules():
        if isinstance(part, torch.fx.GraphModule):
            _place_graph(part.graph, device)
            part.recompile()
        for name, value in list(vars(part).items()):
            if isinstance(value, torch.Tensor):
                setattr(part, name, value.to(device))
    return module.to(device)


def _place_graph(graph: torch.fx.Graph, device: torch.device) -> None:
    def placed(argument: Any) -> Any:
        return device if isinstance(argument, torch.device) else argument

    written = {_memory_of(argument) for node in graph.nodes for argument in _written_by(node)}
    for node in graph.nodes:
        node.args, node.kwargs = map_aggregate(node.args, placed), map_aggregate(node.kwargs, placed)
        # A view where there can be one, and a copy elsewhere, unless it would have to follow what is written.
        if node.target is torch.ops.aten.view.default and _memory_of(node) not in written:
            node.target = torch.ops.aten.reshape.default


def _written_by(node: Node) -> Iterator[Node]:
    """Arguments that an operator writes to."""
    if isinstance(node.target, torch._ops.OpOverload):  # noqa: SLF001 - torch has no public name for it
        schema = node.target._schema  # noqa: SLF001 - likewise
        for place, declared in enumerate(schema.arguments):
            given = node.args[place] if place < len(node.args) else node.kwargs.get(declared.name)
            if declared.alias_info is not None and declared.alias_info.is_write and isinstance(given, Node):
                yield given


def _memory_of(node: Node) -> Node:
    """The node that made the memory in which a node's value lies."""
    while node.op == "call_function" and node.args and isinstance(node.args[0], Node) and _shares(node.target):
        node = node.args[0]
    return node


def _shares(target: Any) -> bool:
    """Whether what an operator gives lies in the memory of its first argument."""
    if isinstance(target, torch._ops.OpOverload):  # noqa: SLF001 - as above
        return any(given.alias_info is not None for given in target._schema.returns)  # noqa: SLF001 - likewise
    return target is operator.getitem
