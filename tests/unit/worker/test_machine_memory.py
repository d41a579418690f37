"""How much memory there is, by what the kernel says."""

from pathlib import Path

import pytest

from services.worker.version.machine_memory import usable_bytes

MACHINE = "MemTotal:       16000000 kB\nMemFree:         8000000 kB\n"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "usable"),
    [
        ({}, 16_384_000_000),
        ({"proc/self/cgroup": "0::/\n"}, 16_384_000_000),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, 16_384_000_000),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "4294967296\n"}, 4_294_967_296),
        # A service's own limit is larger than that of the slice that it is in.
        (
            {
                "proc/self/cgroup": "0::/a.slice/b.service\n",
                "sys/fs/cgroup/a.slice/memory.max": "2000000000\n",
                "sys/fs/cgroup/a.slice/b.service/memory.max": "3000000000\n",
            },
            2_000_000_000,
        ),
        # Version 1, in a container that sees only its own part under the path of the machine's.
        (
            {
                "proc/self/cgroup": "9:name=systemd:/docker/12ab\n4:memory:/docker/12ab\n3:cpu,cpuacct:/docker/12ab\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "1000000000\n",
            },
            1_000_000_000,
        ),
        # No limit is a number beyond all memory.
        (
            {
                "proc/self/cgroup": "4:memory:/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            16_384_000_000,
        ),
    ],
)
def test_the_least_of_the_machine_and_the_limits_holds(tmp_path: Path, files: dict[str, str], usable: int) -> None:
    assert usable_bytes(write(tmp_path, {"proc/meminfo": MACHINE, **files})) == usable


def test_where_nothing_is_told_nothing_is_known(tmp_path: Path) -> None:
    assert usable_bytes(tmp_path) == 0


def test_this_machine_has_some() -> None:
    assert usable_bytes() > 100_000_000
