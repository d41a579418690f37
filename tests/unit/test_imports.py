"""What each service leaves out of memory."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "sqlalchemy", "alembic", "scipy", "sklearn"}


@pytest.mark.parametrize(
    ("module", "needed"),
    [
        ("router.app", set[str]()),
        ("registry.app", {"sqlalchemy"}),
        ("evaluator.app", {"scipy"}),
        ("services.local.command", set[str]()),
        ("crossfade.client", set[str]()),
        ("crossfade.cli.app", set[str]()),
        ("crossfade.artifact", set[str]()),
    ],
)
def test_a_service_imports_only_what_it_needs(module: str, needed: set[str]) -> None:
    program = f"import sys, {module}; print(*sorted(set(sys.modules) & {HEAVY!r}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert set(done.stdout.split()) <= needed
