"""Which numbers an input may hold that a program looks up in a table: found in its graph.

A number beyond its table makes a whole batch raise on a CPU, and on a GPU it is the end of the process: an assertion of
a kernel takes the device away from it. Known beforehand, it fails its own request alone.
"""

from collections.abc import Sequence
from typing import Final

import torch
from torch.fx import Node

from services.worker.engine.flat import attribute
from services.worker.engine.memory_of_graphs import memory_of, written

_ATEN: Final = torch.ops.aten
_TABLES: Final = {
    _ATEN.embedding.default: (0, 1),
    _ATEN.embedding_bag.padding_idx: (0, 1),
    _ATEN.embedding_bag.default: (0, 1),
    _ATEN.index_select.default: (0, 2),
}
"""Operators that look up, and where among their arguments the table and the numbers are."""
_RESHAPES: Final = frozenset(
    {
        *(_ATEN.view.default, _ATEN.reshape.default, _ATEN.flatten.using_ints, _ATEN.unsqueeze.default),
        *(_ATEN.squeeze.default, _ATEN.squeeze.dim, _ATEN.squeeze.dims, _ATEN.transpose.int, _ATEN.permute.default),
        *(_ATEN.t.default, _ATEN.contiguous.default, _ATEN.clone.default, _ATEN.detach.default, _ATEN.alias.default),
        *(_ATEN.expand.default,),
    }
)
"""Operators that give all numbers of their first argument, and no others."""
_CASTS: Final = frozenset(
    {_ATEN.to.dtype, _ATEN.to.device, _ATEN.to.dtype_layout, _ATEN._to_copy.default}  # noqa: SLF001 - an operator's name
)
"""The same, if they cast to a type that has these numbers."""
_SIGNED: Final = (torch.int8, torch.int16, torch.int32, torch.int64)
_WHOLE: Final = frozenset({torch.uint8, *_SIGNED})
"""Types of numbers that can be looked up."""


def index_bounds(module: torch.nn.Module, dtypes: Sequence[torch.dtype]) -> tuple[int, ...]:
    """How many rows the smallest table has that each input looks up in; 0: none, as far as the graph shows.

    Args:
        module: of plain operators, as `torch.export` makes it; of another nothing is known.
        dtypes: of its inputs.
    """
    bounds = [0] * len(dtypes)
    if not isinstance(module, torch.fx.GraphModule):
        return tuple(bounds)
    places = {node: place for place, node in enumerate(n for n in module.graph.nodes if n.op == "placeholder")}
    changed = written(module.graph)
    for node in module.graph.nodes:
        where = _TABLES.get(node.target)
        if where is None or (node.target is _ATEN.index_select.default and node.args[1] != 0):
            continue
        chain = _chain(node.args[where[1]])
        rows, place = _rows_of(module, node.args[where[0]]), places.get(chain[-1]) if chain else None
        if not rows or place is None or any(memory_of(one) in changed for one in chain):
            continue
        if dtypes[place] in _WHOLE and all(_has_all_of(dtypes[place], one) for one in chain[:-1]):
            bounds[place] = min(rows, bounds[place] or rows)
    return tuple(bounds)


def _chain(argument: object) -> list[Node]:
    """A value, what it was made of by reshaping and casting, and so on."""
    chain: list[Node] = []
    while isinstance(argument, Node):
        chain.append(argument)
        if argument.target not in _RESHAPES and argument.target not in _CASTS:
            break
        argument = argument.args[0]
    return chain


def _has_all_of(dtype: torch.dtype, node: Node) -> bool:
    """Whether what a node gives has all numbers of a type as they are."""
    cast = [one for one in (*node.args, *node.kwargs.values()) if isinstance(one, torch.dtype)]
    # A signed type has those of an unsigned one if it is larger.
    least = dtype.itemsize + (dtype not in _SIGNED)
    return all(one == dtype or (one in _SIGNED and one.itemsize >= least) for one in cast)


def _rows_of(module: torch.nn.Module, table: object) -> int:
    """Rows of a table that the module holds; 0: it is made while the program runs."""
    if not (isinstance(table, Node) and table.op == "get_attr"):
        return 0
    held = attribute(module, str(table.target))
    return held.shape[0] if isinstance(held, torch.Tensor) and held.ndim else 0
