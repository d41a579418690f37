"""A program on a device, wherever it was exported."""

from typing import Any

import torch
from torch.fx import Node
from torch.fx.node import map_aggregate


def place(module: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """The module, changed so that all of it is on that device, and can run there.

    Parameters and buffers move as torch moves them. An exported program also holds constants that are neither; its
    graph names the device of each tensor that it makes itself; and it has views where the device that it was exported
    on happened to leave values in an order in memory that allows for them, as another device's operators may not.
    """
    for part in module.modules():
        if isinstance(part, torch.fx.GraphModule):
            for node in part.graph.nodes:
                _place_node(node, device)
            part.recompile()
        for name, value in list(vars(part).items()):
            if isinstance(value, torch.Tensor):
                setattr(part, name, value.to(device))
    return module.to(device)


def _place_node(node: Node, device: torch.device) -> None:
    def placed(argument: Any) -> Any:
        return device if isinstance(argument, torch.device) else argument

    node.args, node.kwargs = map_aggregate(node.args, placed), map_aggregate(node.kwargs, placed)
    if node.target is torch.ops.aten.view.default:
        # A view where there can be one, and a copy elsewhere.
        node.target = torch.ops.aten.reshape.default
