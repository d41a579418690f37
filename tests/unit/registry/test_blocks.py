"""Reading a list's page in blocks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from sqlalchemy import Row

from registry.blocks import in_blocks
from registry.sizes import FITTING_BYTES

MIB = 1024 * 1024


@dataclass
class Table:
    """Rows of these sizes."""

    sizes: Sequence[int]
    blocks: list[int] = field(default_factory=list)
    """How many rows each question has read."""

    def ask(self, last: Row[Any] | None, wanted: int) -> Sequence[Row[Any]]:
        first = 0 if last is None else cast("int", last) + 1
        found = range(len(self.sizes))[first : first + wanted]
        self.blocks.append(len(found))
        return cast("Sequence[Row[Any]]", found)

    def octets(self, row: Row[Any]) -> int:
        return self.sizes[cast("int", row)]


@pytest.mark.parametrize("there", [0, 1, 7, 8, 9, 100, 1001])
@pytest.mark.parametrize("limit", [1, 8, 101, 1001])
def test_small_rows_come_in_order_up_to_the_limit(there: int, limit: int) -> None:
    table = Table([10] * there)
    page = in_blocks(table.ask, table.octets, limit)
    assert list(cast("Sequence[int]", page.rows)) == list(range(min(there, limit)))
    assert not page.cut_short
    assert len(table.blocks) <= 20
    assert sum(table.blocks) == min(there, limit)


def test_large_rows_are_read_as_far_as_they_fit() -> None:
    table = Table([MIB] * 1000)
    page = in_blocks(table.ask, table.octets, 1001)
    assert len(page.rows) == FITTING_BYTES // MIB
    assert page.cut_short
    assert sum(table.blocks) == len(page.rows) + 1


def test_a_row_that_is_larger_than_an_answer_comes_alone() -> None:
    table = Table([2 * FITTING_BYTES, 1])
    page = in_blocks(table.ask, table.octets, 10)
    assert (len(page.rows), page.cut_short) == (1, True)


def test_after_a_row_that_is_larger_than_an_answer_no_other_is_read() -> None:
    table = Table([2 * FITTING_BYTES] * 9)
    page = in_blocks(table.ask, table.octets, 10, first=1)
    assert (len(page.rows), page.cut_short, table.blocks) == (1, True, [1])


def test_large_rows_after_small_ones_are_not_all_read() -> None:
    table = Table([10] * 100 + [MIB] * 900)
    page = in_blocks(table.ask, table.octets, 1001)
    assert (len(page.rows), page.cut_short) == (100 + FITTING_BYTES // MIB - 1, True)
    assert sum(table.blocks) - len(page.rows) <= 64
