"""Named tensors: read from what users pass, described, cut into rows, compared."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crossfade.artifact.folder import AnsweredRows, Arrays
from crossfade.tensor_spec import BATCH, DType, TensorSpec

_DTYPES = {
    torch.bool: DType.BOOL,
    torch.uint8: DType.UINT8,
    torch.int8: DType.INT8,
    torch.int16: DType.INT16,
    torch.int32: DType.INT32,
    torch.int64: DType.INT64,
    torch.float16: DType.FP16,
    torch.bfloat16: DType.BF16,
    torch.float32: DType.FP32,
    torch.float64: DType.FP64,
}
# How far rounding may differ between batch sizes, as a share of a tensor's largest value.
_ROUNDING = {torch.float16: 2e-2, torch.bfloat16: 2e-2, torch.float32: 1e-3, torch.float64: 1e-6}

Tensors = Mapping[str, torch.Tensor]


class TensorError(ValueError):
    """What was passed, or what the module returned, can't be used; the message says what to change."""


def answered_rows(inputs: Tensors, outputs: Tensors) -> AnsweredRows:
    """The same rows in numpy."""
    return AnsweredRows(_arrays(inputs), _arrays(outputs))


def name_inputs(module: torch.nn.Module, example: Any, given: Sequence[str] | None) -> tuple[str, ...]:
    """Names of the inputs: a dict's keys, those given, `input`, or forward's parameters."""
    if isinstance(example, Mapping):
        if given is not None:
            raise TensorError("input_names: the example's keys name the inputs; leave input_names out")
        return tuple(str(name) for name in example)
    count = len(example) if isinstance(example, tuple | list) else 1
    if given is not None:
        if len(given) != count:
            raise TensorError(f"input_names: {len(given)} names for {count} inputs")
        return tuple(given)
    if count == 1:
        return ("input",)
    parameters = inspect.signature(module.forward).parameters.values()
    named = [item.name for item in parameters if item.kind is item.POSITIONAL_OR_KEYWORD][:count]
    return tuple(named) if len(named) == count else tuple(f"input_{i}" for i in range(count))


def to_tensor(value: Any, what: str, float_dtype: torch.dtype | None) -> torch.Tensor:
    """A copy on the CPU. What is no tensor and becomes float64 is converted to `float_dtype`, if there is one."""
    if isinstance(value, torch.Tensor):
        tensor = value.detach().cpu().clone()
    else:
        if np.ma.is_masked(value):
            raise TensorError(f"{what} has masked values, which no tensor has: give array.filled(...) of it")
        array = np.asarray(value)
        # torch takes neither another order of bytes nor rows that stand the other way round.
        array = np.array(array, array.dtype.newbyteorder("="), order="C")
        try:
            tensor = torch.tensor(array)
        except TypeError as error:
            raise TensorError(f"{what} has the type {array.dtype}, which no tensor has: give numbers") from error
        # numpy makes float64 of nearly everything; modules rarely compute in it.
        if tensor.dtype == torch.float64 and float_dtype is not None:
            tensor = tensor.to(float_dtype)
    if tensor.is_nested:
        raise TensorError(f"{what} is a nested tensor: pad its rows to one shape (to_padded_tensor)")
    if tensor.layout != torch.strided:
        raise TensorError(f"{what} is a sparse tensor: give to_dense() of it")
    if tensor.dim() == 0:
        raise TensorError(f"{what} is a single number: its first dimension must be the batch")
    return tensor


def output_tensors(raw: Any) -> dict[str, torch.Tensor]:
    """What forward() returned, by name. Raises TensorError if it is anything but tensors."""
    if isinstance(raw, torch.Tensor):
        named: dict[str, Any] = {"output": raw}
    elif isinstance(raw, Mapping):
        named = {str(name): value for name, value in raw.items()}
    elif isinstance(raw, tuple | list):
        named = {f"output_{i}": value for i, value in enumerate(raw)}
    else:
        raise TensorError(f"forward() returned a {type(raw).__name__}: return a tensor, or a tuple or dict of tensors")
    for name, value in named.items():
        if not isinstance(value, torch.Tensor):
            raise TensorError(
                f"output {name!r} is a {type(value).__name__}, not a tensor: return a flat tuple or dict of tensors, "
                "and nothing else"
            )
        if value.is_nested:
            raise TensorError(f"output {name!r} is a nested tensor: return its rows padded to one shape")
        if value.layout != torch.strided:
            raise TensorError(f"output {name!r} is a sparse tensor: return to_dense() of it")
    return named


def no_module(given: object) -> str:
    """What was given in a module's place, with what to give."""
    if isinstance(given, type) and issubclass(given, torch.nn.Module):
        return f"the class {given.__name__}: give an instance with its weights"
    if isinstance(given, str | Path):
        return f"a path ({str(given)!r}): load the model and give it"
    if isinstance(given, Mapping):
        return "a dict: load a state dict into its module and give that"
    if hasattr(given, "predict"):
        return f"a {type(given).__name__}: models of other libraries must be written as one"
    return f"a {type(given).__name__}"


def specs(tensors: Tensors) -> tuple[TensorSpec, ...]:
    """The tensors' specs, the first dimension being the batch."""
    for name, tensor in tensors.items():
        if tensor.dtype not in _DTYPES:
            raise TensorError(f"{name!r} has the type {tensor.dtype}; known are {', '.join(DType)}")
        if 0 in tensor.shape[1:]:
            raise TensorError(f"{name!r} has the shape {list(tensor.shape)}, and so no elements in a row: leave it out")
    return tuple(
        TensorSpec(name, _DTYPES[tensor.dtype], (BATCH, *tensor.shape[1:])) for name, tensor in tensors.items()
    )


def described(tensor: torch.Tensor) -> str:
    """Type and shape for a message."""
    return f"{tensor.dtype} [rows, {', '.join(map(str, tensor.shape[1:]))}]".replace(", ]", "]")


def _arrays(tensors: Tensors) -> Arrays:
    # numpy has no bfloat16; float32 holds it without loss.
    return {
        name: (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy() for name, tensor in tensors.items()
    }


def row_count(tensors: Tensors) -> int:
    """The number of rows, which all of them share."""
    return len(next(iter(tensors.values())))


def take(tensors: Tensors, rows: slice) -> Tensors:
    """Some of the rows."""
    return {name: tensor[rows] for name, tensor in tensors.items()}


def joined(parts: Sequence[Tensors]) -> Tensors:
    """The rows of all parts, one after the other."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def row_unlike(tensors: Tensors) -> Tensors:
    """A row that differs everywhere from the first one, of numbers that each type and nearly each table has."""
    return {name: torch.where(tensor[:1] == 0, 1, 0).to(tensor.dtype) for name, tensor in tensors.items()}


def agree(got: Tensors, expected: Tensors) -> bool:
    """Whether types and shapes are the same, and values up to rounding, which differs between batch sizes."""
    return all(_alike(got[name], tensor) for name, tensor in expected.items())


def _alike(got: torch.Tensor, expected: torch.Tensor) -> bool:
    if (got.dtype, got.shape) != (expected.dtype, expected.shape):
        return False
    if expected.dtype not in _ROUNDING:
        return torch.equal(got, expected)
    allowed = _ROUNDING[expected.dtype] * expected.double().abs().max()
    return bool(((got.double() - expected.double()).abs() <= allowed).all())
