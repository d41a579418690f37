"""What `predict` does."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
from rich.text import Text

from crossfade.cli import text
from crossfade.cli.actions.arrays import first_rows, fit, load_arrays, save_arrays
from crossfade.cli.context import Session
from crossfade.cli.errors import (
    CommandError,
    ExitCode,
    Facts,
    NothingAnswersError,
    UsageError,
    no_such_service,
    too_late,
)
from crossfade.cli.registry_client import Registry, checked
from crossfade.client import Answer, Client, NoTlsConnectionError, PredictError
from crossfade.client import NothingAnswersError as RouterAwayError
from crossfade.codec import Array
from crossfade.common.v1.model_pb2 import Signature
from crossfade.quantities import parse_duration

_ROWS_SHOWN: Final = 20
_COLUMNS_SHOWN: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOptions:
    """What is asked, and where the answer goes; see the command's help."""

    model: str
    source: str
    key: str
    segment: str
    version: str
    rows: int | None
    output: Path | None
    save: Path | None
    timeout: str
    max_parts: int | None = None


def predict_rows(session: Session, options: PredictOptions) -> None:
    """Sends rows and prints the answer.

    Raises:
        CommandError: the call failed.
    """
    inputs, signature, timeout = prepare(session, options)
    began = time.perf_counter()
    answer = call(session, options, inputs, timeout)
    took = time.perf_counter() - began
    predicted = predictions(answer.outputs, tuple(signature.classes) if signature else ())
    payload = answer_json(answer, predicted)
    write(options, answer, payload, answer.outputs)
    session.show(payload, lambda: answer_text(answer, predicted, took))


def prepare(session: Session, options: PredictOptions) -> tuple[dict[str, Array], Signature | None, float]:
    """The inputs, the model's signature if that is known, and the seconds that the call may take.

    Raises:
        CommandError: the inputs cannot be read.
        UsageError: they are no arrays, the time is none, a name can be none, or a key cannot be sent.
    """
    try:
        timeout = parse_duration(options.timeout)
    except ValueError as error:
        raise UsageError(f"--timeout: {error}") from error
    if not timeout:
        raise UsageError(f"--timeout {options.timeout} leaves no time for an answer: write 5s")
    checked(options.model, "model")
    for name in ("key", "segment", "version"):
        _check_sendable(name, getattr(options, name))
    if options.segment:
        checked(options.segment, "segment")
    arrays = first_rows(load_arrays(options.source), options.rows)
    signature = _signature(session, options)
    return fit(arrays, signature), signature, timeout


def _check_sendable(name: str, value: str) -> None:
    if not (value.isascii() and value.isprintable()):
        raise UsageError(f"--{name} {value!r} has characters beyond printable ASCII: send a hash or an encoding of it")


def call(session: Session, options: PredictOptions, inputs: Mapping[str, Array], timeout: float) -> Answer:
    """The Predict call.

    Raises:
        CommandError: it failed.
    """
    address = session.connect.router().address
    with router_client(session) as client:
        try:
            return client.predict(
                options.model,
                inputs,
                key=options.key,
                segment=options.segment,
                version=options.version,
                timeout=timeout,
            )
        except PredictError as error:
            raise call_error(error, address, options.timeout) from error
        except TypeError as error:
            raise UsageError(str(error)) from error


def router_client(session: Session) -> Client:
    """The client that applications use, to the Router."""
    return Client(session.connect.router().address, tls=session.connect.tls)


def call_error(error: PredictError, address: str, timeout: str = "") -> CommandError:
    """What a failed call means at the command line.

    Args:
        error: the call's failure.
        address: the Router's.
        timeout: the --timeout that it had; empty: the command has none.
    """
    if isinstance(error, NoTlsConnectionError):
        return CommandError(error.message, ExitCode.NOTHING_ANSWERS)
    if isinstance(error, RouterAwayError):
        return NothingAnswersError(address, "router")
    if error.code is grpc.StatusCode.UNIMPLEMENTED and not error.reason:
        return no_such_service(address, "router")
    if error.code is grpc.StatusCode.DEADLINE_EXCEEDED and not error.reason:
        return too_late(address, "router", f" (--timeout {timeout})" if timeout else "")
    facts = Facts(error.code.name, error.reason)
    return CommandError(error.message or f"the call failed with {error.code.name}", facts=facts)


def predictions(outputs: Mapping[str, Array], classes: tuple[str, ...]) -> list[str]:
    """The class of each row, by its largest score; empty: no output has a score per class."""
    for array in outputs.values():
        if classes and array.ndim == 2 and array.shape[1] == len(classes) and array.dtype.kind == "f":
            return [classes[column] for column in np.argmax(array, axis=1)]
    return []


def answer_json(answer: Answer, predicted: list[str]) -> dict[str, Any]:
    """An answer for programs, and for `feedback`."""
    return {
        "model": answer.model,
        "version": answer.version,
        "prediction_id": answer.prediction_id,
        "predicted": predicted,
        "outputs": {name: array.tolist() for name, array in answer.outputs.items()},
    }


def answer_text(answer: Answer, predicted: list[str], took: float) -> Text:
    """An answer for people: who answered, a line per row, and the prediction's id."""
    rows = max((len(array) for array in answer.outputs.values() if array.ndim), default=0)
    head = f"{answer.model} {answer.version} answered {text.plural(rows, 'row')} in {text.seconds(took)}"
    names = list(answer.outputs)
    cells: list[list[str | Text]] = [["row", *(["class"] if predicted else []), *names]]
    for row in range(min(rows, _ROWS_SHOWN)):
        own = [predicted[row]] if predicted else []
        cells.append([str(row), *own, *(cell(answer.outputs[name], row) for name in names)])
    lines: list[Text | str] = [head, *text.columns(cells, right=(0,), indent=1)]
    if rows > _ROWS_SHOWN:
        lines.append(f" … and {text.plural(rows - _ROWS_SHOWN, 'row')} more; --output or --json has them all")
    if answer.prediction_id:
        lines.append(f"prediction {answer.prediction_id}")
    return text.join(lines)


def cell(array: Array, row: int) -> str:
    """The first elements of a row."""
    flat = array[row].reshape(-1) if array.ndim else array.reshape(-1)
    shown = [f"{value:.4g}" if array.dtype.kind == "f" else str(value) for value in flat[:_COLUMNS_SHOWN]]
    return " ".join(shown) + (" …" if flat.size > _COLUMNS_SHOWN else "")


def _signature(session: Session, options: PredictOptions) -> Signature | None:
    """The signature of the version asked for, or of the stable one; None: the Registry does not say.

    The call itself needs the Router alone, so that a Registry that is away or refuses us is no failure.
    """
    try:
        registry = Registry(session.connect.registry())
        version = options.version
        if not version or version.startswith("@"):
            # The requests of a segment without a lane of its own are the default lane's.
            lanes = {lane.segment: lane for lane in registry.model(options.model).lanes}
            lane = lanes.get(options.segment, lanes.get(""))
            version = lane.stable_version if lane else ""
        return registry.version(options.model, version).signature if version else None
    except CommandError:
        return None


def write(options: PredictOptions, answer: Answer, payload: dict[str, Any], outputs: Mapping[str, Array]) -> None:
    """Writes the files that were asked for.

    Raises:
        CommandError: one cannot be written.
    """
    # What is written in vain, as to a full disk, is not named by the system.
    file = options.output
    try:
        if options.output is not None:
            save_arrays(options.output, outputs)
        if options.save is not None:
            file = options.save
            options.save.write_text(json.dumps(payload, indent=2) + "\n")
    except OSError as error:
        raise CommandError(
            f"{file} cannot be written: {error.strerror}; the prediction is {answer.prediction_id}"
        ) from error
