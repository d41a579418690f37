"""What `feedback` does."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from crossfade.cli.actions.predicting import call_error, router_client
from crossfade.cli.context import Session
from crossfade.cli.errors import CommandError, UsageError
from crossfade.cli.text import plural
from crossfade.client import FeedbackSummary, PredictError
from crossfade.predict.v1.predict_pb2 import Observation

_UNKNOWN = "-"
_REASONS_SHOWN: Final = 5


def send_feedback(
    session: Session, prediction: str, labels: list[str], *, row: int, as_values: bool, file: Path | None
) -> None:
    """Reports labels of one prediction.

    Args:
        session: the command's run.
        prediction: a prediction's id, or a file of `predict --save`.
        labels: row by row; "-" skips a row.
        row: the first label's row.
        as_values: the labels are numbers.
        file: more labels, one per line.

    Raises:
        CommandError: the call failed, or labels were refused.
    """
    wanted = labels + (labels_in(file) if file else [])
    prediction_id = _prediction_id(prediction)
    observations = [
        _observation(prediction_id, number, label, as_values=as_values)
        for number, label in enumerate(wanted, row)
        if label != _UNKNOWN
    ]
    if not observations:
        raise UsageError("say what was true: crossfade feedback PREDICTION LABEL..., or --labels FILE")
    with router_client(session) as client:
        try:
            summary = client.report(observations)
        except PredictError as error:
            raise call_error(error, session.connect.router().address) from error
    session.show(_json(summary), lambda: describe(summary))
    if summary.refused:
        raise CommandError(f"{plural(len(summary.refused), 'label')} refused: {why_refused(summary.refused)}")


def describe(summary: FeedbackSummary) -> str:
    """What became of the labels."""
    kinds = [plural(n, kind) for n, kind in ((summary.labels, "label"), (summary.values, "value")) if n]
    parts = [f"{' and '.join(kinds) or '0 labels'} counted"]
    if summary.duplicates:
        parts.append(f"{summary.duplicates} had come before and count once")
    if summary.too_late:
        parts.append(f"{summary.too_late} came too late to be compared")
    return "; ".join(parts)


def why_refused(refused: Sequence[str]) -> str:
    """The reasons, each said once: of many, as of a wrong file, the first ones."""
    reasons = list(dict.fromkeys(refused))
    more = len(reasons) - _REASONS_SHOWN
    left_out = [f"and {plural(more, 'more reason')}; --json has them all"] if more > 0 else []
    return "; ".join(reasons[:_REASONS_SHOWN] + left_out)


def _prediction_id(prediction: str) -> str:
    path = Path(prediction)
    if path.suffix != ".json":
        return prediction
    try:
        saved = json.loads(path.read_bytes())
        found = saved["prediction_id"]
    except OSError as error:
        raise CommandError(f"{prediction} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{prediction} is no answer that `crossfade predict --save` wrote") from error
    if not isinstance(found, str) or not found:
        raise UsageError(f"{prediction} holds no prediction id")
    return found


def labels_in(file: Path) -> list[str]:
    """The labels of a file, one per line; an empty line skips a row.

    Raises:
        CommandError: it cannot be read.
        UsageError: it is no text.
    """
    try:
        # A byte order mark, as spreadsheets write it, is no part of the first label.
        return [line.strip() or _UNKNOWN for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is no text: not UTF-8 at byte {error.start}; it has one label per line") from error


def _observation(prediction_id: str, row: int, label: str, *, as_values: bool) -> Observation:
    if not as_values:
        return Observation(prediction_id=prediction_id, row=row, label=label)
    try:
        return Observation(prediction_id=prediction_id, row=row, value=float(label))
    except ValueError as error:
        raise UsageError(f"{label!r} is no number; leave --value out for class names") from error


def _json(summary: FeedbackSummary) -> dict[str, Any]:
    return {
        "accepted": summary.accepted,
        "labels": summary.labels,
        "values": summary.values,
        "duplicates": summary.duplicates,
        "too_late": summary.too_late,
        "refused": list(summary.refused),
    }
