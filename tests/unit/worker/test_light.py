"""Programs that a front-end runs too: what is small, and the same answers there to the bit."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from crossfade.manifest import Precision
from services.worker.engine.flat import flatten
from services.worker.engine.light import pack_if_light, unpack
from tests.unit.worker.exported import exported


class _Many(nn.Module):
    """Slices, lists, keyword arguments, buffers that share memory, sizes, a type."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)
        shift = torch.arange(8.0)
        self.register_buffer("shift", shift[:4])
        self.register_buffer("rest", shift[::2])

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[rows, 4] to [rows, 7] and [rows]."""
        hidden = self.norm(self.layer(x) + self.shift) * self.rest.to(torch.float64).to(torch.float32)
        both = torch.cat([hidden[:, :2], hidden[:, 1:], hidden.mean(dim=1, keepdim=True), hidden[..., ::3]], dim=1)
        return both.reshape(x.shape[0] * 2, -1).reshape(x.shape[0], -1), torch.clamp(hidden, min=-1.0).argmax(dim=1)


class _Looking(nn.Module):
    """Looks numbers up that callers send."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, 4] to [rows, 2]."""
        found: torch.Tensor = self.table(x.long() % 10).sum(1)
        return found


class _Branching(nn.Module):
    """Goes one way or the other."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, 4] to the same."""
        branched: torch.Tensor = torch.cond(x.sum() > 0, lambda h: h + 1.0, lambda h: h - 1.0, (x,))
        return branched


class _Repeating(nn.Module):
    """A layer that keeps a state from step to step."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(4, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, 4] to the same."""
        steps, _ = self.layer(x.unsqueeze(1))
        last: torch.Tensor = steps[:, -1]
        return last


class _Wide(nn.Module):
    """Multiplies little, and makes many numbers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, 4] to [rows, 4]."""
        return x.unsqueeze(-1).expand(-1, -1, 1_000_000).exp().mean(-1)


class _Polynomial(nn.Module):
    """Of the degree that callers send: 30 million are 3 s."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, 4] to [rows]."""
        found: torch.Tensor = torch.special.legendre_polynomial_p(x[:, 0], x[:, 1])
        return found


class _Special(nn.Module):
    """Of a special function of two numbers: zeta takes a step for each whole number that the second is below 0."""

    def __init__(self, function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, 4] to [rows]."""
        return self.function(x[:, 0], x[:, 1])


class _Raised(nn.Module):
    """Of results that are nearly 0 each takes 30 to 100 ns."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.numbers = numbers

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, 4] to [rows]."""
        return x[:, :1].expand(-1, self.numbers).exp().mean(1)


class _Searching(nn.Module):
    """Of 20,000 numbers that fall it takes 50 times as long as of any others."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, numbers] to [rows]."""
        return torch.kthvalue(x, 1).values


class _Remembering(nn.Module):
    """Reads [steps, numbers]."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """To [rows, width]."""
        steps, _ = self.layer(x)
        last: torch.Tensor = steps[:, -1]
        return last


def packed(module: nn.Module, shape: tuple[int, ...] = (4,), precision: Precision = Precision.FP32) -> bytes:
    torch.manual_seed(0)
    return pack_if_light(exported(module, torch.randn(3, *shape)), [torch.randn(1, *shape)], precision)


CONVOLUTIONS = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16])
@pytest.mark.parametrize(
    ("module", "shape"), [(_Many(), (4,)), (_Looking(), (4,)), (_Repeating(), (4,)), (CONVOLUTIONS, (1, 8, 8))]
)
def test_it_answers_there_as_in_the_engine(module: nn.Module, shape: tuple[int, ...], precision: Precision) -> None:
    program = exported(module, torch.randn(3, *shape))
    mixed = torch.bfloat16 if precision is Precision.BF16 else None
    here = unpack(pack_if_light(program, [torch.randn(1, *shape)], precision)).function()
    there = flatten(program, mixed)
    for _ in range(5):
        row = torch.randn(1, *shape)
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed is not None):
            found: Any = tuple(here(row))
            wanted: Any = tuple(there(row))
        assert [torch.equal(a, b) for a, b in zip(found, wanted, strict=True)] == [True] * len(wanted)


def test_weights_are_copies_of_the_engines() -> None:
    program = exported(nn.Linear(4, 2), torch.randn(3, 4))
    here = unpack(pack_if_light(program, [torch.randn(1, 4)], Precision.FP32)).function()
    row = torch.randn(1, 4)
    before = here(row)[0].detach().clone()
    with torch.no_grad():
        for weight in program.parameters():
            weight.zero_()
    assert torch.equal(here(row)[0], before)


@pytest.mark.parametrize(
    "module",
    [
        pytest.param(_Branching(), id="branches"),
        pytest.param(_Polynomial(), id="loops as callers say"),
        pytest.param(_Special(torch.special.zeta), id="loops down to a number"),
        pytest.param(_Special(lambda x, y: x + torch.polygamma(2, y)), id="likewise, by its other name"),
        pytest.param(_Special(torch.special.gammainc), id="loops for what is no number"),
        pytest.param(_Raised(100_000), id="may give numbers that are nearly 0"),
        pytest.param(_Searching(), id="searches"),
        pytest.param(_Wide(), id="makes many numbers"),
        pytest.param(nn.Sequential(nn.Linear(4, 2000), nn.Linear(2000, 1100)), id="multiplies much"),
        pytest.param(nn.Sequential(*(nn.Linear(4, 4) for _ in range(65))), id="many operators"),
    ],
)
def test_what_is_not_small_or_may_take_longer_is_the_engines_alone(module: nn.Module) -> None:
    assert packed(module) == b""


def test_a_few_numbers_that_may_be_nearly_0_are_small() -> None:
    assert packed(_Raised(50_000)) != b""


def test_what_an_operator_consists_of_counts() -> None:
    module = _Remembering(nn.GRU(4, 4, batch_first=True))
    assert packed(module, (10, 4)) != b""
    assert packed(module, (30, 4)) == b""


def test_weights_that_are_too_large_are_not_copied_to_find_that_out() -> None:
    program = exported(_Looking(), torch.randn(3, 4))
    # More than any memory holds: all of its rows are the same one.
    program.get_submodule("table").register_parameter("weight", nn.Parameter(torch.ones(1, 2).expand(10**13, 2)))
    assert pack_if_light(program, [torch.randn(1, 4)], Precision.FP32) == b""


def test_two_million_multiplications_are_small() -> None:
    assert packed(nn.Sequential(nn.Linear(4, 1900), nn.Linear(1900, 1000))) != b""


def test_an_architecture_is_its_authors_code() -> None:
    assert pack_if_light(nn.Linear(4, 2), [torch.randn(1, 4)], Precision.FP32) == b""
