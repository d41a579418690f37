"""Modules as exported programs."""

import torch
from torch import nn


def exported(module: nn.Module, example: torch.Tensor) -> torch.fx.GraphModule:
    """As a Worker loads it."""
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(module.eval(), (example,), dynamic_shapes=({0: batch},))
    made = program.module(check_guards=False)
    assert isinstance(made, torch.fx.GraphModule)
    return made
