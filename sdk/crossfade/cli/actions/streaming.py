"""What `predict --stream` does: a line per part, as it comes."""

import time
from collections.abc import Mapping

import numpy as np
import typer

from crossfade.cli import text
from crossfade.cli.actions.predicting import (
    PredictOptions,
    answer_json,
    call_error,
    cell,
    prepare,
    router_client,
    write,
)
from crossfade.cli.context import Session
from crossfade.cli.errors import CommandError, UsageError
from crossfade.cli.plain import json_line
from crossfade.client import Answer, PredictError
from crossfade.codec import Array


def predict_parts(session: Session, options: PredictOptions) -> None:
    """Sends rows and prints each part of the answer when it has come; with --json as a line of JSON.

    Raises:
        CommandError: the call failed; the parts before have been printed.
    """
    inputs, _, timeout = prepare(session, options)
    parts: list[Answer] = []
    began = time.perf_counter()
    first = 0.0
    address = session.connect.router().address
    with router_client(session) as client:
        try:
            for part in client.predict_stream(
                options.model,
                inputs,
                max_parts=options.max_parts,
                key=options.key,
                segment=options.segment,
                version=options.version,
                timeout=timeout,
            ):
                parts.append(part)
                first = first or time.perf_counter() - began
                _show(session, len(parts), part)
        except PredictError as error:
            raise call_error(error, address, options.timeout) from error
        except TypeError as error:
            raise UsageError(str(error)) from error
    if not parts:
        raise CommandError(f"{options.model} answered no part")
    last = parts[-1]
    write(options, last, answer_json(last, []), _stacked(parts))
    if not session.options.json:
        took = text.seconds(time.perf_counter() - began)
        counted = text.plural(len(parts), "part")
        session.print(
            f"{last.model} {last.version} answered {counted} in {took}, the first after {text.seconds(first)}"
        )
        if last.prediction_id:
            session.print(f"prediction {last.prediction_id}")


def _show(session: Session, number: int, part: Answer) -> None:
    if session.options.json:
        typer.echo(json_line({"part": number, **answer_json(part, [])}))
        return
    rows = max((len(array) for array in part.outputs.values() if array.ndim), default=0)
    for row in range(rows):
        head = f"{number:>6}" if row == 0 else " " * 6
        cells = (f"{name} {cell(array, row)}" for name, array in part.outputs.items())
        session.print("  ".join((head, *((f"row {row}",) if rows > 1 else ()), *cells)))


def _stacked(parts: list[Answer]) -> Mapping[str, Array]:
    """Each output of all parts, [parts, rows, ...]."""
    return {name: np.stack([part.outputs[name] for part in parts]) for name in parts[0].outputs}
