"""How many multiplications operators make on a CPU: by `torch.utils.flop_counter`, and of those that it leaves out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

_ATEN: Final = torch.ops.aten
_OF_MATRICES: Final = frozenset(
    getattr(_ATEN, name)
    for name in (
        *("_linalg_det", "_linalg_eigh", "_linalg_slogdet", "_linalg_solve_ex", "_linalg_svd", "cholesky"),
        *("cholesky_inverse", "cholesky_solve", "linalg_cholesky_ex", "linalg_eig", "linalg_householder_product"),
        *("linalg_inv_ex", "linalg_ldl_factor_ex", "linalg_ldl_solve", "linalg_lstsq", "linalg_lu", "linalg_lu_solve"),
        *("linalg_lu_factor_ex", "linalg_matrix_exp", "linalg_pinv", "linalg_qr", "linalg_solve_triangular"),
    )
)
"""Of which each number takes about as many as a matrix has columns."""


def multiplications(func: Any, args: Sequence[Any], given: Mapping[str, Any], gave: Any) -> int:
    """How many a call makes, about.

    Args:
        func: the operator.
        args: what it was given by position.
        given: likewise by name.
        gave: what it gave.
    """
    packet = func.overloadpacket
    if (operations := flop_registry.get(packet)) is not None:
        # A multiplication and an addition are two.
        return int(operations(*args, **given, out_val=gave)) // 2
    if packet in _OF_MATRICES:
        return int((args[0].numel() + _numbers(gave)) * args[0].shape[-1])
    count = _MORE.get(packet)
    return 0 if count is None else int(count(args, gave))


def _numbers(gave: Any) -> int:
    return sum(int(one.numel()) for one in tree_leaves(gave) if isinstance(one, torch.Tensor))


def _attention(args: Sequence[Any], gave: Any) -> int:
    # The same on a CPU, under a name of its own.
    return int(flop_registry[_ATEN._scaled_dot_product_flash_attention](*args, out_val=gave)) // 2  # noqa: SLF001


def _recurrent(args: Sequence[Any], _: Any) -> int:
    steps, rows, _ = args[0].shape
    return int(steps * rows * (args[1].numel() + args[2].numel()))


def _distances(args: Sequence[Any], gave: Any) -> int:
    return _numbers(gave) * int(args[0].shape[-1])


def _bilinear(args: Sequence[Any], _: Any) -> int:
    rows = args[0].numel() // args[0].shape[-1]
    return int(rows * args[1].numel())


_MORE: Final[Mapping[Any, Callable[[Sequence[Any], Any], Any]]] = {
    _ATEN._scaled_dot_product_flash_attention_for_cpu: _attention,  # noqa: SLF001 - the operator's name
    _ATEN.mkldnn_rnn_layer: _recurrent,
    _ATEN._cdist_forward: _distances,  # noqa: SLF001 - likewise
    _ATEN._euclidean_dist: _distances,  # noqa: SLF001 - likewise
    _ATEN._pdist_forward: _distances,  # noqa: SLF001 - likewise
    _ATEN._trilinear: _bilinear,  # noqa: SLF001 - likewise
    _ATEN.mv: lambda args, _: args[0].numel(),
    _ATEN.addmv: lambda args, _: args[1].numel(),
    _ATEN.addbmm: lambda args, _: args[1].numel() * args[2].shape[-1],
    _ATEN.dot: lambda args, _: args[0].numel(),
}
