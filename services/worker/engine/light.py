"""Programs so small that a front-end runs a single row itself: which ones, and how they get there.

What is small is counted and not timed: both arms of a comparison must run alike, and two times of one program differ.
"""

import json
import operator
import re
from collections.abc import Sequence
from typing import Any, Final

import safetensors.torch
import torch
from torch.fx import GraphModule
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from crossfade.manifest import Precision
from services.worker.engine.engine import MIXED
from services.worker.engine.flat import Source, source_of

_MOST_OPERATORS: Final = 64
_MOST_CALLS: Final = 256
"""Of the operators that these consist of: a GRU calls a dozen at each step, and each takes its time."""
_MOST_WORK: Final = 2_000_000
"""Multiplications, and numbers that operators give, for one row: less than half a millisecond of a processor."""
_MOST_BYTES: Final = 16 << 20
"""Of what it holds, which each front-end then holds too."""
_PYTHON: Final = {"getitem": operator.getitem, "mul": operator.mul, "slice": slice}
"""What is none of torch's, by name."""
_LOOPING: Final = re.compile(
    r"aten::(kthvalue|special_\w+_polynomial_\w+|special_zeta|(special_)?polygamma|igammac?|special_gammaincc?)_?"
)
"""Operators that take as long as the numbers say that they are given: a degree is so many steps, and so is for zeta a
number below 0; NaN is 2,000 for igamma; and numbers may lie so that a search for the k-th compares each with each.
"""
_OF_AN_EXP: Final = 32
"""A number that `exp` gives counts so often: below 1.2e-38 or so it takes 30 to 100 ns instead of 1, even where the
processor takes such numbers for 0.
"""
_OF_TORCH: Final = (torch.dtype, torch.layout, torch.memory_format)


def pack_if_light(module: torch.nn.Module, row: Sequence[torch.Tensor], precision: Precision) -> bytes:
    """A program for `unpack`, if it is light; otherwise nothing.

    Args:
        module: the program.
        row: one row of each input.
        precision: what it is to run in.

    Raises:
        Exception: whatever the program raised, or a constant that cannot be stored.
    """
    return _pack(module, MIXED.get(precision)) if isinstance(module, GraphModule) and _is_light(module, row) else b""


def _is_light(module: GraphModule, row: Sequence[torch.Tensor]) -> bool:
    """Whether it is small, and takes as long for any numbers: it has neither branches nor loops."""
    called = [node for node in module.graph.nodes if node.op == "call_function"]
    if len(called) > _MOST_OPERATORS or not all(_is_plain(node.target) for node in called):
        return False
    work = _Work()
    # In inference mode what is made of others shows as one, of which nobody has counted the multiplications.
    with torch.no_grad(), work:
        module(*row)
    return work.done <= _MOST_WORK and work.calls <= _MOST_CALLS


def _is_plain(target: Any) -> bool:
    if isinstance(target, torch._ops.OpOverload):  # noqa: SLF001 - torch has no public name for it
        return target.namespace == "aten" and _LOOPING.fullmatch(target._schema.name) is None  # noqa: SLF001 - likewise
    return target in _PYTHON.values()


def _pack(module: GraphModule, mixed: torch.dtype | None) -> bytes:
    """Empty: it holds something that cannot be handed over, or too much."""
    source = source_of(module, mixed)
    tensors: dict[str, torch.Tensor] = {}
    names = {}
    for name, value in source.names.items():
        packed = ["operator", source.operators[name]] if name in source.operators else _packed(name, value, tensors)
        if packed is None:
            return b""
        names[name] = packed
    # Before anything is copied: a table of gigabytes may be there for the one row that is looked up.
    if sum(tensor.nbytes for tensor in tensors.values()) > _MOST_BYTES:
        return b""
    # Copied: two names may stand for the same memory.
    copies = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    return json.dumps({"text": source.text, "names": names}).encode() + b"\n" + safetensors.torch.save(copies)


def unpack(packed: bytes) -> Source:
    """What `pack_if_light` has packed: of this version's engine alone, which is believed as this process is itself."""
    head, _, stored = packed.partition(b"\n")
    parts = json.loads(head)
    tensors = safetensors.torch.load(stored)  # noqa: TID251 - what the engine has loaded and vetted
    names = {name: _unpacked(kind, value, tensors) for name, (kind, value) in parts["names"].items()}
    operators = {name: value for name, (kind, value) in parts["names"].items() if kind == "operator"}
    return Source(parts["text"], names, operators)


def _packed(name: str, value: object, tensors: dict[str, torch.Tensor]) -> list[object] | None:
    """A constant's kind and what says which; None: it is of no kind that is known."""
    if isinstance(value, torch.Tensor):
        tensors[name] = value.detach()
        return ["tensor", name]
    if isinstance(value, _OF_TORCH):
        return ["torch", str(value).removeprefix("torch.")]
    if isinstance(value, torch.device):
        return ["device", str(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return ["plain", value]
    known = next((key for key, one in _PYTHON.items() if one is value), None)
    return None if known is None else ["python", known]


def _unpacked(kind: str, value: Any, tensors: dict[str, torch.Tensor]) -> object:
    match kind:
        case "operator":
            namespace, name, overload = value.split(".")
            return getattr(getattr(getattr(torch.ops, namespace), name), overload)._op  # noqa: SLF001 - as `source_of`
        case "tensor":
            return tensors[value]
        case "torch":
            return getattr(torch, value)
        case "device":
            return torch.device(value)
        case "python":
            return _PYTHON[value]
        case _:
            return value


class _Work(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch leaves it unannotated
    """Counts what operators do, as `torch.utils.flop_counter` counts multiplications: those of most layers.

    Where it counts none, as of attention on a CPU, the time shows it that the program takes where it is proved.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # likewise
        self.done = self.calls = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs it and counts it."""
        del types
        given = kwargs or {}
        gave = func(*args, **given)
        if not func.is_view:
            self.calls += 1
            times = _OF_AN_EXP if func.overloadpacket is torch.ops.aten.exp else 1
            self.done += times * sum(one.numel() for one in tree_leaves(gave) if isinstance(one, torch.Tensor))
        if (operations := flop_registry.get(func.overloadpacket)) is not None:
            # A multiplication and an addition are two.
            self.done += operations(*args, **given, out_val=gave) // 2
        return gave
