"""Which numbers a program looks up: found in its graph, where that shows it."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from services.worker.engine.index_bounds import index_bounds


class Tables(nn.Module):
    """Looks up numbers of its inputs, or of what it makes of them."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.words, self.fewer = nn.Embedding(30, 4), nn.Embedding(20, 4)
        self.bag = nn.EmbeddingBag(25, 4, mode="sum")
        self.rows: Tensor
        self.register_buffer("rows", torch.zeros(40, 4))

    def forward(self, x: Tensor, y: Tensor) -> Any:  # noqa: C901 - each way by itself
        """Two of [rows, 3] to [rows, 4]."""
        match self.way:
            case "as they are":
                return self.words(x).sum(1) + y.sum(1, keepdim=True)
            case "shaped otherwise":
                return self.words(x.flatten(1).long().unsqueeze(-1)).sum((1, 2)) + self.fewer(
                    y.t().contiguous().t()
                ).sum(1)
            case "the smaller table counts":
                return self.words(x).sum(1) + self.fewer(x).sum(1) + y.sum(1, keepdim=True)
            case "a bag":
                return self.bag(x) + y.sum(1, keepdim=True)
            case "rows of a buffer":
                return self.rows.index_select(0, x[:, 0] * 0 + 1) + self.rows.index_select(0, y.reshape(-1))[:3].sum()
            case "other numbers":
                return self.words(x % 30).sum(1) + self.fewer(y[:, 0]) + x.sum()
            case "cast to less":
                return self.words(x.bool().long()).sum(1) + self.fewer(y.to(torch.uint8).long()).sum(1)
            case "of other bits":
                return self.words(x.view(torch.uint8).long()).sum(1) + y.sum(1, keepdim=True)
            case "a copy that is written to":
                known = x.clone()
                known[:, :1].masked_fill_(known[:, :1] == -100, 1)
                return self.words(known).sum(1) + y.sum(1, keepdim=True)
            case "written to by lists":
                torch._foreach_add_([x], -1)
                return self.words(x).sum(1) + y.sum(1, keepdim=True)
            case "written to within":
                flat = x.reshape(-1)
                with torch.no_grad():
                    flat.sub_(1)
                return self.words(x).sum(1) + y.sum(1, keepdim=True)
            case _:
                x.sub_(1)
                return self.words(x).sum(1) + y.sum(1, keepdim=True)


@pytest.mark.parametrize(
    ("way", "bounds"),
    [
        ("as they are", (30, 0)),
        ("shaped otherwise", (30, 20)),
        ("the smaller table counts", (20, 0)),
        ("a bag", (25, 0)),
        ("rows of a buffer", (0, 40)),
        ("other numbers", (0, 0)),
        ("cast to less", (0, 0)),
        ("of other bits", (0, 0)),
        ("a copy that is written to", (0, 0)),
        ("written to by lists", (0, 0)),
        ("written to within", (0, 0)),
        ("written to", (0, 0)),
    ],
)
def test_the_bounds_of_whole_numbers(way: str, bounds: tuple[int, int]) -> None:
    given = (torch.ones(4, 3, dtype=torch.int64), torch.ones(4, 3, dtype=torch.int64))
    program = torch.export.export(Tables(way).eval(), given).module(check_guards=False)
    assert index_bounds(program, (torch.int64, torch.int64)) == bounds
    assert index_bounds(program, (torch.float32, torch.int64))[0] == 0


def test_of_a_module_that_is_no_graph_nothing_is_known() -> None:
    assert index_bounds(nn.Embedding(3, 2), (torch.int64,)) == (0,)
