"""Commands that call models: predict, feedback."""

from pathlib import Path
from typing import Annotated, Final

import typer

from crossfade.cli.commands.look import ModelArgument
from crossfade.cli.context import Session, command

_LAST_ROW: Final = 63
"""Only the first 64 rows of a prediction take labels."""


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for function in (predict, feedback):
        app.command(function.__name__)(command(function))


def predict(
    session: Session,
    model: ModelArgument,
    source: Annotated[
        str, typer.Option("--input", "-i", help="Rows: FILE.npy, FILE.npz, FILE.json, or - for stdin.", metavar="FILE")
    ],
    key: Annotated[str, typer.Option("--key", help="Routing key: user, session.", metavar="KEY")] = "",
    segment: Annotated[str, typer.Option("--segment", help="The caller's segment.", metavar="SEGMENT")] = "",
    version: Annotated[
        str, typer.Option("--version", help="A pin: a version, @stable, @test or @previous.", metavar="VERSION")
    ] = "",
    rows: Annotated[
        int | None, typer.Option("--rows", min=1, help="Only the first rows of the input.", metavar="N")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Write the outputs to this .npz file.", metavar="FILE")
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", help="Write the answer to this .json file, for feedback.", metavar="FILE")
    ] = None,
    timeout: Annotated[
        str, typer.Option("--timeout", help="The answer comes within this time or not at all.", metavar="DURATION")
    ] = "5s",
    stream: Annotated[bool, typer.Option("--stream", help="Print the answer part by part, as it comes.")] = False,
    max_parts: Annotated[
        int | None, typer.Option("--max-parts", min=1, help="With --stream: at most so many parts.", metavar="N")
    ] = None,
) -> None:
    """Send rows to a model and print what comes back."""
    from crossfade.cli.actions.predicting import PredictOptions, predict_rows
    from crossfade.cli.actions.streaming import predict_parts
    from crossfade.cli.errors import UsageError

    options = PredictOptions(
        model=model,
        source=source,
        key=key,
        segment=segment,
        version=version,
        rows=rows,
        output=output,
        save=save,
        timeout=timeout,
        max_parts=max_parts,
    )
    if stream:
        predict_parts(session, options)
    elif max_parts is not None:
        raise UsageError("--max-parts is for --stream: without it there is one answer")
    else:
        predict_rows(session, options)


def feedback(
    session: Session,
    prediction: Annotated[
        str,
        typer.Argument(
            metavar="PREDICTION", help="A prediction id, or the file of predict --save.", show_default=False
        ),
    ],
    labels: Annotated[
        list[str] | None,
        typer.Argument(metavar="LABEL...", help="What was true, row by row; - skips a row.", show_default=False),
    ] = None,
    row: Annotated[
        int, typer.Option("--row", min=0, max=_LAST_ROW, help="The row of the first label.", metavar="N")
    ] = 0,
    value: Annotated[bool, typer.Option("--value", help="The labels are numbers (regression).")] = False,
    file: Annotated[
        Path | None, typer.Option("--labels", help="A file with one label per line.", metavar="FILE")
    ] = None,
) -> None:
    """Report what turned out to be true of a prediction."""
    from crossfade.cli.actions.feeding import send_feedback

    send_feedback(session, prediction, labels or [], row=row, as_values=value, file=file)
