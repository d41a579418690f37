"""The processes of one version and kind of traffic: the engine and the front-ends, made here.

The fork server forks the first front-end, which forks the engine and further front-ends before it opens anything. They
live and die together: to the supervisor they are one process.
"""

import contextlib
import gc
import os
import select
import signal
import socket
import threading
import time
from functools import partial
from typing import Final

import uvloop

from crossfade.manifest import Manifest
from services.worker.domain import FailureCode
from services.worker.engine import engine_process
from services.worker.front_end.front_end import read_manifest
from services.worker.front_end.processors import stay_on
from services.worker.pipes import forks, messages
from services.worker.process_config import ChildConfig
from services.worker.shared_memory.exchange import Exchange, keep_own_side
from services.worker.version import follower
from services.worker.version.lead import Lead

_ORPHAN_GRACE_SECONDS: Final = 2.0
"""How long a version that has lost its supervisor may answer what is under way."""


def main(config: ChildConfig, pipe: socket.socket) -> None:
    """Loads, verifies, reports, and serves until it is told to end."""
    try:
        _run(config, pipe)
    except Exception as error:
        # Closed already, it belonged to a front-end, which has said its own last word.
        with contextlib.suppress(OSError):
            pipe.sendall(messages.pack(messages.Crashing(f"it could not be started: {error!r}")))
        raise


def _run(config: ChildConfig, pipe: socket.socket) -> None:
    if config.cores:
        # Inherited by all that is forked and started from here on.
        os.sched_setaffinity(0, config.cores)
    # Ctrl-C and the end of a terminal reach the whole process group; the supervisor alone decides what they mean.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    manifest = read_manifest(config.folder)
    try:
        exchanges = _exchanges(config, manifest)
    except (OSError, OverflowError, ValueError) as error:
        # A manifest may say any size.
        refusal = f"its rows cannot be laid out in memory as its signature says they are: {error}"
        pipe.sendall(messages.pack(messages.Failed(FailureCode.LOAD_FAILED, refusal)))
        return

    def run_engine(own: socket.socket) -> None:
        # Held by another process too, the supervisor's pipe would not end with this one.
        pipe.close()
        engine_process.main(config, manifest, exchanges, own)

    def stay(front_end: int) -> None:
        if config.pinned:
            stay_on(config.pinned[front_end])

    def follow(number: int, own: socket.socket) -> None:
        pipe.close()
        stay(number)
        follower.main(config, manifest, exchanges, exchanges[number], own)

    engine = forks.fork(run_engine)
    followers = [forks.fork(partial(follow, number)) for number in range(1, len(exchanges))]
    stay(0)
    exchange = exchanges[0]
    keep_own_side(exchanges, exchange)
    threading.Thread(target=_end_with_supervisor, args=(pipe,), name="supervisor", daemon=True).start()
    gc.freeze()
    uvloop.run(Lead(config, manifest, exchange, engine, followers).run(pipe))


def _exchanges(config: ChildConfig, manifest: Manifest) -> list[Exchange]:
    settings = config.settings
    # What waits, and what runs meanwhile.
    rows = settings.queue_rows + min(manifest.max_batch, settings.max_batch)
    return [Exchange(manifest.signature, rows) for _ in range(settings.front_ends)]


def _end_with_supervisor(pipe: socket.socket) -> None:
    """Ends the process when the supervisor has gone, even if the event loop is stuck."""
    poll = select.poll()
    poll.register(pipe.fileno(), select.POLLRDHUP | select.POLLHUP)
    poll.poll()
    time.sleep(_ORPHAN_GRACE_SECONDS)
    os._exit(1)
