"""What `profile` does."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crossfade.cli.context import Session
from crossfade.cli.errors import CommandError, UsageError, refusal
from crossfade.cli.render.profile import bins_text, summary_json, summary_text
from crossfade.profile import ProfileError
from crossfade.profiling import (
    Summary,
    TableError,
    Wishes,
    open_table,
    profile_file,
    read_profile,
    summarise,
    write_profile,
)
from crossfade.profiling.labelled_table import with_labels
from crossfade.strict_json import FieldError


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileOptions:
    """What is looked at, and how; see the command's help."""

    data: Path
    to: Path | None
    label: str
    features: Sequence[str]
    exclude: Sequence[str]
    categorical: Sequence[str]
    codes: Sequence[str]
    input: str
    bins: bool
    header: bool


def profile_data(session: Session, options: ProfileOptions) -> None:
    """Shows a file of training data, and writes its reference profile where that was asked for.

    Raises:
        UsageError: an option's value can be none, or not with this file.
        CommandError: the file cannot be read, or no profile can be made of it.
    """
    if options.to is not None:
        _check_free(options.to)
    try:
        summary = _summary(options)
        if options.to is not None:
            write_profile(options.to, profile_file(summary))
    except (TableError, ProfileError, FieldError) as error:
        raise refusal(str(error)) from error

    def text() -> str:
        parts = [summary_text(summary)]
        if options.bins:
            parts.append(bins_text(summary))
        parts.append(_next(summary, options))
        return "\n".join(parts)

    session.show(summary_json(summary, options.to), text)


def _summary(options: ProfileOptions) -> Summary:
    table, label = open_table(options.data, header=options.header), options.label
    if label.endswith(".npy") and label not in table.names:
        labelled = with_labels(table, Path(label))
        table, label = labelled, labelled.label
    wishes = Wishes(
        features=_listed(options.features, table.names),
        exclude=_listed(options.exclude, table.names),
        label=label,
        categorical=_listed(options.categorical, table.names),
        codes=dict(_code(one) for one in options.codes),
    )
    return summarise(table, options.data.name, wishes, options.input or None)


def _listed(values: Sequence[str], names: Sequence[str]) -> list[str]:
    """Columns of `a,b` and of repeated options; a name with a comma in it is taken as it is."""
    known = set(names)
    return [
        name.strip() for value in values for name in ([value] if value in known else value.split(",")) if name.strip()
    ]


def _code(value: str) -> tuple[str, list[str]]:
    column, equals, texts = value.partition("=")
    listed = [text.strip() for text in texts.split(",")]
    if not (column and equals) or "" in listed:
        raise UsageError(f"--codes {value!r}: write COLUMN=A,B,C, the texts of the numbers 0, 1, 2")
    return column.strip(), listed


def _check_free(to: Path) -> None:
    """What is no profile is never written over."""
    if not to.exists():
        return
    try:
        read_profile(to)
    except ProfileError as error:
        raise CommandError(f"{to} exists and is no profile: choose another file for --to") from error


def _next(summary: Summary, options: ProfileOptions) -> str:
    if options.to is not None:
        return f"profile written: {options.to}; crossfade package … --profile {options.to}"
    if summary.obstacle:
        return f"no profile can be made of it yet: {summary.obstacle}"
    return "nothing written: --to FILE writes the reference profile"
