"""structlog: one JSON line per event on standard error, with the trace's ids where there is a trace."""

import logging
import sys
from typing import Final, TextIO, cast

import structlog
from opentelemetry import trace

from services.common.guard import current_metadata, is_late
from services.common.telemetry.tracing import extract

_OF_HEADERS: Final = ("opentelemetry.trace.propagation.tracecontext", "opentelemetry.trace.span")
"""Loggers of what is wrong with a caller's trace context: no news of this process, of which callers could make any
number of lines; and a line looks for its trace in those very headers."""
_OF_GRPC: Final = "grpc._cython.cygrpc"
"""Logger of what grpc itself fails at, and of metadata that is no UTF-8."""
_NO_UTF8: Final = "Invalid encoding on %s"
"""Clients in other languages send what was given them; it is taken for Latin-1. No news of this process either, with a
traceback for each value of each call, and with the value, which may be a user's name."""
_NOT_SENT: Final = "ExecuteBatchError raised in core"
"""How a line begins about an answer that could not be sent. Of a caller whose time was over just before, it is no news
either, and under load there are any number of them."""


def _add_trace_ids(
    logger: structlog.typing.WrappedLogger, name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    del logger, name
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        # No span is open in this process: the caller's trace, of the call that is being handled.
        context = trace.get_current_span(extract(current_metadata())).get_span_context()
    if context.is_valid:
        event["trace_id"] = format(context.trace_id, "032x")
        event["span_id"] = format(context.span_id, "016x")
    return event


class _Routed(logging.Handler):
    """Writes the lines of libraries as those of the service."""

    def __init__(self, log: structlog.typing.FilteringBoundLogger, level: int) -> None:
        super().__init__(level)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one."""
        try:
            more = {"exc_info": record.exc_info} if record.exc_info else {}
            self._log.log(
                min(record.levelno // 10 * 10, logging.CRITICAL), record.getMessage(), logger=record.name, **more
            )
        except Exception:  # noqa: BLE001 - a line of a library must end nothing
            self.handleError(record)


def _route(log: structlog.typing.FilteringBoundLogger, level: int) -> None:
    """Takes the lines of the standard library's loggers, warnings and worse; the latest log of a process has them."""
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, _Routed)]:
        root.removeHandler(handler)
    root.addHandler(_Routed(log, max(level, logging.WARNING)))
    for name in _OF_HEADERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    # There it is once, however many logs the process makes.
    logging.getLogger(_OF_GRPC).addFilter(_of_this_process)


def _of_this_process(record: logging.LogRecord) -> bool:
    return record.msg != _NO_UTF8 and not (record.msg.startswith(_NOT_SENT) and is_late())


def make_log(service: str, level: str, file: TextIO | None = None) -> structlog.typing.FilteringBoundLogger:
    """A logger that writes lines of `level` and above, each with the service's name, and those of libraries with it.

    Args:
        service: the service's name.
        level: debug, info, warning, error or critical.
        file: where the lines go. Default: standard error.

    Raises:
        ValueError: no such level.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"no log level {level!r}: use debug, info, warning or error")
    logger = structlog.wrap_logger(
        structlog.PrintLogger(file or sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_trace_ids,
            # Local variables hold requests, tokens and keys.
            structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        service=service,
    )
    log = cast("structlog.typing.FilteringBoundLogger", logger)
    _route(log, number)
    return log
