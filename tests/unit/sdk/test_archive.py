"""A program's archive on a disk that is full."""

import errno
from pathlib import Path

import pytest
import torch

from crossfade.artifact.archive import UnwrittenError, pickled_parts, save_program


@pytest.fixture(scope="module")
def program() -> torch.export.ExportedProgram:
    return torch.export.export(torch.nn.Linear(200, 200), (torch.zeros(2, 200),))


def test_a_program_is_written_whole(program: torch.export.ExportedProgram, tmp_path: Path) -> None:
    program.example_inputs = None
    save_program(program, tmp_path / "program.pt2")
    assert pickled_parts(tmp_path / "program.pt2") == []


def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(program: torch.export.ExportedProgram) -> None:
    with pytest.raises(UnwrittenError) as caught:
        save_program(program, Path("/dev/full"))
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "/dev/full")
