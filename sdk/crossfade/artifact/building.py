"""The torch side of architectures: build the module, put weights into it, store a module's weights."""

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch

from crossfade.architecture import Architecture, ArchitectureError, find, package_of

_SHOWN_NAMES = 3


def build(architecture: Architecture) -> torch.nn.Module:
    """The architecture's module, in evaluation mode on the CPU. This imports the package that declares it.

    Raises:
        ArchitectureError: it is not installed, fails, or gives no module.
    """
    entry = find(architecture.name)
    what = f"the architecture {architecture.name!r} ({entry.value} in {package_of(entry)})"
    try:
        factory = entry.load()
    except (Exception, SystemExit) as error:
        # The package's code may raise anything, and ends processes where something is missing.
        raise ArchitectureError(f"{what} can't be imported: {_described(error)}") from error
    try:
        module = factory(**architecture.config)
        if isinstance(module, torch.nn.Module):
            return module.cpu().eval()
    except (Exception, SystemExit) as error:
        raise ArchitectureError(f"{what} can't be built from its config: {_described(error)}") from error
    raise ArchitectureError(f"{what} gave a {type(module).__name__} instead of a torch module")


def fill(module: torch.nn.Module, weights: Mapping[str, torch.Tensor], name: str) -> None:
    """Put weights into a module: exactly its own, by name, type and shape.

    Args:
        module: as it was built.
        weights: by their names in the module's state.
        name: of the architecture, for messages.

    Raises:
        ArchitectureError: they are another module's; the message names the first differences.
    """
    what = f"the architecture {name!r}"
    state = _tensors(module, what)
    differences = []
    if missing := sorted(state.keys() - weights.keys()):
        differences.append(f"they lack {_listed(missing)}")
    if unknown := sorted(weights.keys() - state.keys()):
        differences.append(f"it has no {_listed(unknown)}")
    if differences:
        raise ArchitectureError(f"the weights are not those of {what}: {', and '.join(differences)}")
    for one, tensor in state.items():
        stored, expected = _kind(weights[one]), _kind(tensor)
        if stored != expected:
            # load_state_dict would convert other types without a word.
            raise ArchitectureError(f"the weights are not those of {what}: {one!r} is {stored}, its own is {expected}")
    try:
        module.load_state_dict(dict(weights), strict=True)
    except Exception as error:
        # Modules may load their state in code of their own.
        raise ArchitectureError(f"{what} doesn't take the weights: {_described(error)}") from error


def write_weights(path: Path, module: torch.nn.Module, architecture: Architecture) -> torch.nn.Module:
    """Store a module's weights, and put what was stored into the architecture's module.

    Weights that the module has under several names are stored under each.

    Returns:
        the architecture's module with the weights, to be compared with `module`.

    Raises:
        ArchitectureError: the architecture can't be built here, the weights can't be stored, or aren't its own.
    """
    built = build(architecture)
    # Copies: the format has neither shared memory nor strides.
    weights = {
        name: tensor.clone(memory_format=torch.contiguous_format)
        for name, tensor in _tensors(module, "the module").items()
    }
    try:
        safetensors.torch.save_file(weights, path)
    except Exception as error:
        raise ArchitectureError(f"the module's weights can't be stored as safetensors: {_described(error)}") from error
    fill(built, safetensors.torch.load_file(path), architecture.name)  # noqa: TID251 - reads what it has just written
    return built


def _tensors(module: torch.nn.Module, what: str) -> dict[str, torch.Tensor]:
    """The module's state."""
    try:
        state = module.state_dict()
    except Exception as error:
        raise ArchitectureError(f"{what} can't give its state: {_described(error)}") from error
    for name, value in state.items():
        if type(value) is not torch.Tensor or value.is_meta or value.layout != torch.strided:
            raise ArchitectureError(f"{what} has {name!r} in its state, which is no plain tensor with values")
    return dict(state)


def _kind(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_SHOWN_NAMES])
    more = len(names) - _SHOWN_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


def _described(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
