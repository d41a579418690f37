"""A program on a device, wherever it was exported."""

from typing import Any

import torch
from torch.fx.node import map_aggregate

from services.worker.engine.memory_of_graphs import memory_of, written


def place(module: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """The module, changed so that it runs on that device.

    Parameters and buffers move as torch moves them. An exported program also holds constants that are neither; its
    graph names the device of each tensor that it makes itself; and it has views where the device that it was exported
    on happened to leave values in an order in memory that allows for them, as another device's operators may not.
    """
    for part in module.modules():
        if isinstance(part, torch.fx.GraphModule):
            _place_graph(part.graph, device)
            part.recompile()
        for name, value in list(vars(part).items()):
            if isinstance(value, torch.Tensor):
                setattr(part, name, value.to(device))
    return module.to(device)


def _place_graph(graph: torch.fx.Graph, device: torch.device) -> None:
    def placed(argument: Any) -> Any:
        return device if isinstance(argument, torch.device) else argument

    kept = written(graph)
    for node in graph.nodes:
        node.args, node.kwargs = map_aggregate(node.args, placed), map_aggregate(node.kwargs, placed)
        # A view where there can be one, and a copy elsewhere, unless it would have to follow what is written.
        if node.target is torch.ops.aten.view.default and memory_of(node) not in kept:
            node.target = torch.ops.aten.reshape.default
