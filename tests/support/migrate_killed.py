"""`python -m tests.support.migrate_killed URL`: migrates, killed before each statement that it had not sent before.

Prints how often it was killed before it came through.
"""

import os
import signal
import sys
import traceback
from typing import Any

import alembic.command  # noqa: F401 - imported once, before the forks
from sqlalchemy import event

from registry.database.engine import open_engine, parse_url
from registry.database.schema import migrate


def _child(url: str, met: set[str], tell: int) -> None:
    engine = open_engine(parse_url(url), 1)

    def stop(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement not in met:
            os.write(tell, statement.encode())
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(engine, "before_cursor_execute", stop)
    migrate(engine)


def _forked(url: str, met: set[str]) -> str:
    """Migrates in a process of its own; answers the statement before which it was killed, or nothing."""
    hear, tell = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _child(url, met, tell)
            code = 0
        except Exception:
            traceback.print_exc()
            raise
        finally:
            os._exit(code)
    os.close(tell)
    with os.fdopen(hear, "rb") as pipe:
        statement = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) and os.waitstatus_to_exitcode(status):
        sys.exit(f"the migration failed after it was killed {len(met)} times")
    return statement


def main(url: str) -> None:
    """Forks a migration per statement."""
    met: set[str] = set()
    while statement := _forked(url, met):
        met.add(statement)
    sys.stdout.write(f"{len(met)}\n")


if __name__ == "__main__":
    main(sys.argv[1])
