"""Whose folder a refusal of the operating system is about."""

import errno
from pathlib import Path

import pytest

from crossfade.cli.file_faults import folder_fault

DATA = Path("/srv/crossfade/data")


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/srv/crossfade/data", True),
        ("/srv/crossfade/data/postgres/PG_VERSION", True),
        ("/srv/crossfade", True),
        ("/run/crossfade/socket", False),
        ("/usr/lib/postgresql/bin/initdb", False),
    ],
)
def test_advice_on_a_folder_is_given_where_it_is_the_folder_that_is_refused(path: str, told: bool) -> None:
    said = folder_fault(PermissionError(errno.EACCES, "Permission denied", path), DATA, "choose another with --data")
    assert said.startswith(f"{path} cannot be used: Permission denied; ")
    assert ("--data" in said) is told


def test_what_is_about_no_file_is_no_fault_of_one() -> None:
    assert folder_fault(OSError(errno.EACCES, "Permission denied"), DATA, "choose another with --data") == ""
