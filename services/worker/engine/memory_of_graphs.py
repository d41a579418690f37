"""Which values of a program's graph lie in the same memory, and which memory it writes to."""

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch.fx import Graph, GraphModule, Node

from services.worker.engine.flat import attribute


def memory_of(node: Node) -> Node:
    """The node that made the memory in which a node's value lies."""
    while node.op == "call_function" and node.args and isinstance(node.args[0], Node) and _shares(node.target):
        node = node.args[0]
    return node


def written(graph: Graph) -> frozenset[Node]:
    """The nodes that made the memory that some node writes to, or may write to in a graph within this one."""
    return frozenset(memory_of(argument) for node in graph.nodes for argument in _written_by(node))


def writes_to_inputs(graph: Graph) -> bool:
    """Whether it writes to what it is given."""
    return any(node.op == "placeholder" for node in written(graph))


def _written_by(node: Node) -> Iterator[Node]:
    """Arguments that an operator writes to."""
    if isinstance(node.target, torch._ops.OpOverload):  # noqa: SLF001 - torch has no public name for it
        schema = node.target._schema  # noqa: SLF001 - likewise
        for place, declared in enumerate(schema.arguments):
            if declared.alias_info is not None and declared.alias_info.is_write:
                given = node.args[place] if place < len(node.args) else node.kwargs.get(declared.name)
                for one in given if isinstance(given, list | tuple) else [given]:
                    if isinstance(one, Node):
                        yield one
    elif any(written(part.graph) for part in _graphs_within(node)):
        yield from node.all_input_nodes


def _graphs_within(node: Node) -> Iterator[GraphModule]:
    """The graphs that a control-flow operator is given."""
    for one in node.all_input_nodes:
        if one.op == "get_attr" and one.graph.owning_module is not None:
            held = attribute(one.graph.owning_module, str(one.target))
            if isinstance(held, GraphModule):
                yield held


def _shares(target: Any) -> bool:
    """Whether what an operator gives lies in the memory of its first argument."""
    if isinstance(target, torch._ops.OpOverload):  # noqa: SLF001 - as above
        return any(given.alias_info is not None for given in target._schema.returns)  # noqa: SLF001 - likewise
    return target is operator.getitem
