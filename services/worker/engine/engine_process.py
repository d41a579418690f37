"""The process that holds a version's program: loads, verifies, warms up, and runs batches for the front-ends.

It has no server and no event loop, so that nothing contends with the program for the interpreter, and it alone touches
the device.
"""

import contextlib
import gc
import socket
from collections.abc import Sequence

from crossfade.manifest import Manifest
from services.common.clock import SystemClock
from services.common.free_memory import give_back
from services.common.text import first_line
from services.worker.domain import LoadError
from services.worker.engine.batcher import Batcher
from services.worker.engine.device import Device, Work
from services.worker.engine.verify import prepare
from services.worker.pipes import messages
from services.worker.process_config import ChildConfig
from services.worker.shared_memory.exchange import Exchange


def main(config: ChildConfig, manifest: Manifest, exchanges: Sequence[Exchange], pipe: socket.socket) -> None:
    """Reports over `pipe` what came of loading, and serves until the front-ends have ended.

    Whatever ends it before is its last word there: a model may raise anything, and a GPU fail for good.
    """
    try:
        _run(config, manifest, exchanges, pipe)
    except BaseException as error:
        with contextlib.suppress(OSError):
            pipe.sendall(messages.pack(messages.Crashing(f"{type(error).__name__}: {first_line(error)[:300]}")))
        raise


def _run(config: ChildConfig, manifest: Manifest, exchanges: Sequence[Exchange], pipe: socket.socket) -> None:
    for exchange in exchanges:
        exchange.keep_engine_side()
    clock = SystemClock()
    try:
        prepared = prepare(config.folder, manifest, config.settings, clock, config.ordered_at)
    except LoadError as error:
        pipe.sendall(messages.pack(messages.Failed(error.code, str(error))))
        return
    # What loading left behind lives for ever and need not be looked at again.
    gc.collect()
    gc.freeze()
    pipe.sendall(messages.pack(messages.Ready(prepared.report, prepared.bounds), prepared.light))
    run, max_rows = prepared.engine.begin, prepared.max_rows
    # With the light program, which is the front-ends' now.
    del prepared
    give_back()
    batcher: Batcher[Work] = Batcher(max_rows, config.settings.queue_rows)
    Device(run, batcher, exchanges, clock, config.settings.pause_seconds).serve()
