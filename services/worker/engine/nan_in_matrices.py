"""Operators that end the process where a matrix holds NaN: they are given numbers, and NaN is put into their answer.

Of torch.linalg that is `eigvals` alone, by LAPACK's xGEBAL as MKL has it (seen on torch 2.13); the others, `eig` among
them, answer NaN or raise. What a caller sends must not end a version, and a check of what came in is not enough: a
program's own sums overflow, and infinity less infinity is NaN.
"""

import math
from typing import Final

import torch
from torch.fx import Graph, Node

_ATEN: Final = torch.ops.aten
_ENDS: Final = _ATEN.linalg_eigvals.default
_ROW: Final = -1
_BOTH: Final = (-2, -1)


def keep_nan_out(module: torch.fx.GraphModule) -> None:
    """Changes a program's graph, and those of its branches; answers of matrices that are all numbers stay what they
    are, to the bit.
    """
    for part in module.modules():
        if isinstance(part, torch.fx.GraphModule):
            found = [node for node in part.graph.nodes if node.target == _ENDS]
            for node in found:
                _keep_out(part.graph, node)
            if found:
                part.recompile()


def _keep_out(graph: Graph, values: Node) -> None:
    (given,) = values.all_input_nodes
    with graph.inserting_before(values):
        numbers = graph.call_function(_ATEN.isfinite.default, (given,))
        # [..., n, n] to [..., 1, 1].
        whole = graph.call_function(_ATEN.all.dims, (numbers, list(_BOTH), True))
        values.args, values.kwargs = (graph.call_function(_ATEN.where.ScalarOther, (whole, given, 0)),), {}
    with graph.inserting_after(values):
        row = graph.call_function(_ATEN.squeeze.dim, (whole, _ROW))
    with graph.inserting_after(row):
        # Times NaN: of a complex number both parts are NaN.
        bad = graph.call_function(_ATEN.mul.Tensor, (values, math.nan))
    with graph.inserting_after(bad):
        answer = graph.call_function(_ATEN.where.self, (row, values, bad))
    values.replace_all_uses_with(answer, delete_user_cb=lambda user: user not in (bad, answer))
