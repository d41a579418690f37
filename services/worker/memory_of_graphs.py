"""Which values of a program's graph lie in the same memory, and which memory it writes to."""

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch.fx import Graph, Node


def memory_of(node: Node) -> Node:
    """The node that made the memory in which a node's value lies."""
    while node.op == "call_function" and node.args and isinstance(node.args[0], Node) and _shares(node.target):
        node = node.args[0]
    return node


def written(graph: Graph) -> frozenset[Node]:
    """The nodes that made the memory that some node writes to."""
    return frozenset(memory_of(argument) for node in graph.nodes for argument in _written_by(node))


def _written_by(node: Node) -> Iterator[Node]:
    """Arguments that an operator writes to."""
    if isinstance(node.target, torch._ops.OpOverload):  # noqa: SLF001 - torch has no public name for it
        schema = node.target._schema  # noqa: SLF001 - likewise
        for place, declared in enumerate(schema.arguments):
            given = node.args[place] if place < len(node.args) else node.kwargs.get(declared.name)
            if declared.alias_info is not None and declared.alias_info.is_write and isinstance(given, Node):
                yield given


def _shares(target: Any) -> bool:
    """Whether what an operator gives lies in the memory of its first argument."""
    if isinstance(target, torch._ops.OpOverload):  # noqa: SLF001 - as above
        return any(given.alias_info is not None for given in target._schema.returns)  # noqa: SLF001 - likewise
    return target is operator.getitem
