"""A program as one function: the same answers, and nothing of the program's text in it."""

from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import nn

from services.worker.engine.flat import flatten
from tests.unit.worker.exported import exported


class Branching(nn.Module):
    """Slices, a list argument, keyword arguments, a buffer, a branch on the data."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.register_buffer("shift", torch.arange(3.0))
        self.norm = nn.LayerNorm(3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[rows, 4] to [rows, 6] and [rows, 3]."""
        hidden = self.norm(self.layer(x) + self.shift)
        both = torch.cat([hidden[:, :2], hidden[:, 1:], hidden.mean(dim=1, keepdim=True), hidden[..., ::3]], dim=1)
        gated = torch.cond(x.sum() > 0, lambda h: h + 1.0, lambda h: h - 1.0, (hidden,))
        return both, torch.clamp(gated, min=-1.0)


class Net(nn.Module):
    """A convolution, pooling, an LSTM-free classifier head with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            OrderedDict(conv=nn.Conv2d(1, 4, 3), act=nn.GELU(), pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten())
        )
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, 1, 8, 8] to [rows, 2]."""
        return torch.softmax(self.head(self.drop(self.body(x))), dim=-1)


@pytest.mark.parametrize(("module", "shape"), [(Branching(), (4,)), (Net(), (1, 8, 8))])
def test_it_answers_as_the_module_does(module: nn.Module, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    made = exported(module, torch.randn(3, *shape))
    flat = flatten(made)
    for rows in (1, 3, 17):
        for sign in (1, -1):
            x = sign * torch.rand(rows, *shape)
            with torch.inference_mode():
                wanted: Any = made(x)
                found: Any = flat(x)
            wanted = wanted if isinstance(wanted, tuple) else (wanted,)
            assert [torch.equal(a, b) for a, b in zip(wanted, tuple(found), strict=True)] == [True] * len(wanted)


def test_autocast_reaches_its_operators() -> None:
    flat = flatten(exported(nn.Linear(4, 2), torch.randn(3, 4)))
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        (found,) = flat(torch.randn(3, 4))
    assert found.dtype is torch.bfloat16


@pytest.mark.parametrize(("module", "shape"), [(Branching(), (4,)), (Net(), (1, 8, 8))])
def test_weights_that_are_cast_once_give_what_autocast_gives(module: nn.Module, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    made = exported(module, torch.randn(3, *shape))
    plain, once = flatten(made), flatten(made, torch.bfloat16)
    for rows in (1, 3, 17):
        x = torch.randn(rows, *shape)
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            wanted, found = plain(x), once(x)
        assert [torch.equal(a, b) for a, b in zip(wanted, found, strict=True)] == [True] * len(wanted)


def test_of_a_weight_that_is_cast_the_original_is_not_kept() -> None:
    made = exported(nn.Linear(4, 2), torch.randn(3, 4))
    held = [value for value in flatten(made, torch.bfloat16).__globals__.values() if isinstance(value, torch.Tensor)]
    assert {value.dtype for value in held} == {torch.bfloat16}
    assert len(held) == 2


def test_names_that_a_program_brings_stay_names() -> None:
    made = exported(nn.Softmax(dim=1), torch.randn(3, 4))
    node = next(node for node in made.graph.nodes if node.op == "call_function")
    node.kwargs = {"dtype=None) or print('run'); f(x": 1}
    with pytest.raises(ValueError, match="names an argument"):
        flatten(made)


def test_a_graph_that_calls_modules_is_refused() -> None:
    traced = torch.fx.symbolic_trace(nn.Sequential(nn.Linear(4, 2)))
    with pytest.raises(ValueError, match="as a module"):
        flatten(traced)
