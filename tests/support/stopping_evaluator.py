"""`python -m tests.support.stopping_evaluator FILE`: an Evaluator that may be stopped just before it acts.

Of all that are started with the same FILE, the first that is about to roll back writes its process id there and waits
for FILE's .go, with the RPC's etag and look in its hands. What became of the RPC then stands in FILE's .outcome.
"""

import os
import sys
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Final

from evaluator.__main__ import main
from evaluator.ports import RolloutView
from evaluator.rpc.registry_client import RegistryClient
from evaluator.verdict.decision import Action, Decision

_GLANCE_SECONDS: Final = 0.01


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


def stop_once(file: Path) -> None:
    """Makes `act` stop the process, once among all that share the file."""
    act = RegistryClient.act

    async def stopping(self: RegistryClient, rollout: RolloutView, sequence: int, decision: Decision) -> None:
        if decision.action is Action.ROLLBACK:
            try:
                with file.open("x") as made:
                    made.write(str(os.getpid()))
            except FileExistsError:
                pass
            else:
                # Nothing else is to happen in this process until the test has stopped it and lets it go on.
                while not file.with_suffix(".go").exists():
                    time.sleep(_GLANCE_SECONDS)  # noqa: ASYNC251
                await _noted(act(self, rollout, sequence, decision), file.with_suffix(".outcome"))
                return
        await act(self, rollout, sequence, decision)

    RegistryClient.act = stopping  # type: ignore[method-assign]


if __name__ == "__main__":
    stop_once(Path(sys.argv[1]))
    main()
