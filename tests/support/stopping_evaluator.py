"""`python -m tests.support.stopping_evaluator FILE [look]`: an Evaluator that may be stopped just before it acts.

Of all that are started with the same FILE, the first that is about to roll back (with `look`: to record a judged look)
writes its process id there and waits for FILE's .go, with the RPC's etag and look in its hands. What became of the RPC
then stands in FILE's .outcome.
"""

import os
import sys
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Final

from evaluator.__main__ import main
from evaluator.evidence.state import Look
from evaluator.ports import RolloutView
from evaluator.rpc.registry_client import RegistryClient
from evaluator.verdict.decision import Action, Decision
from evaluator.window.counts import Counts

_GLANCE_SECONDS: Final = 0.01
LOOK: Final = "look"
"""As the second argument: it is stopped in the middle of a look."""


async def _noted(acting: Awaitable[None], file: Path) -> None:
    outcome = "done"
    try:
        await acting
    except BaseException as error:
        outcome = f"{type(error).__name__}: {error}"
        raise
    finally:
        # Renamed, so that whoever sees it sees all of it.
        made = file.with_suffix(".part")
        made.write_text(outcome)
        made.rename(file)


async def _once(acting: Awaitable[None], file: Path) -> None:
    """Stops before the RPC, once among all that share the file."""
    try:
        with file.open("x") as made:
            made.write(str(os.getpid()))
    except FileExistsError:
        await acting
        return
    # Nothing else is to happen in this process until the test has stopped it and lets it go on.
    while not file.with_suffix(".go").exists():
        time.sleep(_GLANCE_SECONDS)  # noqa: ASYNC251
    await _noted(acting, file.with_suffix(".outcome"))


def stop_before_a_rollback(file: Path) -> None:
    """Makes `act` stop the process."""
    act = RegistryClient.act

    async def stopping(self: RegistryClient, rollout: RolloutView, sequence: int, decision: Decision) -> None:
        acting = act(self, rollout, sequence, decision)
        await (_once(acting, file) if decision.action is Action.ROLLBACK else acting)

    RegistryClient.act = stopping  # type: ignore[method-assign]


def stop_in_a_look(file: Path) -> None:
    """Makes `record` stop the process, which has read and concluded by then."""
    record = RegistryClient.record

    async def stopping(
        self: RegistryClient, name: str, look: Look, policy_hash: str, cursor: Counts, decision: Decision
    ) -> None:
        recording = record(self, name, look, policy_hash, cursor, decision)
        await (_once(recording, file) if look.judged else recording)

    RegistryClient.record = stopping  # type: ignore[method-assign]


if __name__ == "__main__":
    stop = stop_in_a_look if LOOK in sys.argv[2:] else stop_before_a_rollback
    stop(Path(sys.argv[1]))
    main()
