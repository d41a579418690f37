"""Which numbers an input may hold that a program looks up in a table: found in its graph.

A number beyond its table makes a whole batch raise on a CPU, and on a GPU it is the end of the process: an assertion of
a kernel takes the device away from it. Known beforehand, it is one caller's mistake.
"""

from collections.abc import Sequence
from typing import Final

import torch
from torch.fx import Node

from services.worker.memory_of_graphs import written

_TABLES: Final = {
    torch.ops.aten.embedding.default: (0, 1),
    torch.ops.aten.embedding_bag.padding_idx: (0, 1),
    torch.ops.aten.embedding_bag.default: (0, 1),
    torch.ops.aten.index_select.default: (0, 2),
}
"""Operators that look up, and where among their arguments the table and the numbers are."""
_SAME_NUMBERS: Final = frozenset(
    getattr(torch.ops.aten, name)
    for name in (
        *("to", "_to_copy", "clone", "contiguous", "detach", "alias", "view", "reshape", "flatten", "unflatten"),
        *("squeeze", "unsqueeze", "transpose", "permute", "t", "expand"),
    )
)
"""Operators that give all numbers of their first argument, and no others."""


def index_bounds(module: torch.nn.Module, whole: Sequence[bool]) -> tuple[int, ...]:
    """How many rows the smallest table has that each input looks up in; 0: none, as far as the graph shows.

    Args:
        module: of plain operators, as `torch.export` makes it; of another nothing is known.
        whole: of each input, whether it has whole numbers: of others a cast leaves something else.
    """
    bounds = [0] * len(whole)
    if not isinstance(module, torch.fx.GraphModule):
        return tuple(bounds)
    given = [node for node in module.graph.nodes if node.op == "placeholder"]
    changed = written(module.graph)
    places = {node: place for place, node in enumerate(given) if whole[place] and node not in changed}
    for node in module.graph.nodes:
        where = _TABLES.get(node.target)
        if where is None or (node.target is torch.ops.aten.index_select.default and node.args[1] != 0):
            continue
        rows, place = _rows_of(module, node.args[where[0]]), places.get(_given(node.args[where[1]]))
        if rows and place is not None:
            bounds[place] = min(rows, bounds[place] or rows)
    return tuple(bounds)


def _given(argument: object) -> Node | None:
    """The input whose numbers an argument has, if it is one."""
    while isinstance(argument, Node) and getattr(argument.target, "overloadpacket", None) in _SAME_NUMBERS:
        argument = argument.args[0]
    return argument if isinstance(argument, Node) and argument.op == "placeholder" else None


def _rows_of(module: torch.nn.Module, table: object) -> int:
    """Rows of a table that the module holds; 0: it is made while the program runs."""
    if not (isinstance(table, Node) and table.op == "get_attr"):
        return 0
    held: object = module
    for part in str(table.target).split("."):
        held = getattr(held, part)
    return held.shape[0] if isinstance(held, torch.Tensor) and held.ndim else 0
