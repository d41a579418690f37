"""A program that was exported on one device runs on another: on `meta`, which has shapes and no values, here."""

import pytest
import torch
from torch import nn

from services.worker.engine.placement import place

META = torch.device("meta")


class Positions(nn.Module):
    """Makes tensors itself, in a branch also, and holds a constant beside its parameters and buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.register_buffer("shift", torch.arange(3.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, 4] to [rows, 3]."""
        (hidden,) = torch.cond(
            x.sum() > 0, lambda h: (h + torch.ones(4),), lambda h: (h - torch.full((4,), 2.0),), (x,)
        )
        y: torch.Tensor = self.layer(hidden) * torch.tensor([1.0, 2.0, 3.0])
        return y + torch.arange(3, device=x.device)


def exported(module: nn.Module, example: torch.Tensor) -> torch.fx.GraphModule:
    batch = torch.export.Dim("batch", min=1, max=64)
    made = torch.export.export(module.eval(), (example,), dynamic_shapes=({0: batch},)).module(check_guards=False)
    assert isinstance(made, torch.fx.GraphModule)
    return made


def test_everything_that_a_program_holds_and_makes_is_on_the_device() -> None:
    program = exported(Positions(), torch.randn(3, 4))
    assert place(program, META) is program
    held, named = [*program.parameters(), *program.buffers()], []
    for part in program.modules():
        held += [value for value in vars(part).values() if isinstance(value, torch.Tensor)]
        if isinstance(part, torch.fx.GraphModule):
            named += [one for node in part.graph.nodes for one in (*node.args, *node.kwargs.values())]
    # In both branches, and after them.
    assert [one for one in named if isinstance(one, torch.device)] == [META] * 3
    # The weight and the bias, the buffer, the constant.
    assert len(held) == 4
    assert {one.device.type for one in held} == {"meta"}


def viewing(*, writes: bool) -> torch.fx.GraphModule:
    """A view of what was turned, written to or not, beside a value that is written to."""
    graph = torch.fx.Graph()
    given = graph.placeholder("x")
    turned = graph.call_function(torch.ops.aten.transpose.int, (given, 1, 2))
    view = graph.call_function(torch.ops.aten.view.default, (turned, [-1, 6]))
    other = graph.call_function(torch.ops.aten.clone.default, (given,))
    graph.call_function(torch.ops.aten.add_.Tensor, (view if writes else other, 1))
    graph.output((view, other))
    return torch.fx.GraphModule({}, graph)


def test_where_there_can_be_no_view_there_is_a_copy() -> None:
    program = place(viewing(writes=False), torch.device("cpu"))
    x = torch.arange(12.0).reshape(2, 2, 3)
    view, other = program(x)
    assert torch.equal(view, x.transpose(1, 2).reshape(2, 6))
    assert torch.equal(other, x + 1)


def test_a_view_that_is_written_through_stays_one() -> None:
    program = place(viewing(writes=True), torch.device("cpu"))
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        program(torch.arange(12.0).reshape(2, 2, 3))
