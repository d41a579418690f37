"""A file of training data as text and as JSON. Pure."""

import math
from pathlib import Path
from typing import Any, Final

from rich.text import Text

from crossfade.cli import text
from crossfade.profiling.gathering import DEFAULT_BOUNDS, SEED
from crossfade.profiling.summarising import MAX_CLASSES
from crossfade.profiling.summary import Bin, FeatureSummary, LabelSummary, LeftOut, Summary
from crossfade.reference_profile import FeatureKind
from crossfade.strict_json import encode, parse

_NAME: Final = 28
_WHAT: Final = 40
_MOST_NAMES: Final = 6


def summary_text(summary: Summary) -> str:
    """What people see: the label, a table of numeric features and one of categorical ones, and what is left out."""
    lines = [Text(_head(summary), "bold")]
    if summary.label is not None:
        lines.append(Text(f" {_label(summary.label)}"))
    numeric = [one for one in summary.features if one.kind is FeatureKind.NUMERIC]
    categorical = [one for one in summary.features if one.kind is FeatureKind.CATEGORICAL]
    if numeric:
        rows = [["numeric", "missing", "min", "median", "max", "bins", "values with a bin of their own"]]
        rows += [_numeric(one) for one in numeric]
        lines += text.columns(rows, right=(1, 2, 3, 4, 5), indent=1)
    if categorical:
        rows = [["categorical", "missing", "values", "most frequent"]]
        rows += [_categorical(one) for one in categorical]
        lines += text.columns(rows, right=(1, 2), indent=1)
    lines += [Text(f" {_infinite(one)}") for one in summary.features if one.infinite]
    lines += [Text(f" {_left_out(one)}") for one in summary.left_out]
    lines += [Text(f" {note}") for note in summary.notes]
    return text.join(lines).plain


def bins_text(summary: Summary) -> str:
    """Every bin of every feature."""
    lines = []
    for one in summary.features:
        lines.append(Text(f"{one.name} ({one.kind}, {text.plural(len(one.bins), 'bin')})"))
        rows = [[_bin(part), text.percent(part.share, 1), text.bar(part.share, 20)] for part in one.bins]
        lines += text.columns(rows, right=(1,), indent=1)
    return text.join(lines).plain


def summary_json(summary: Summary, written: Path | None) -> dict[str, Any]:
    """What programs get: everything, in full."""
    label = summary.label
    return {
        "file": summary.source,
        "format": summary.format,
        "rows": summary.rows,
        "sampled_rows": summary.sampled,
        "width": summary.width,
        "features": [
            {
                "name": one.name,
                "index": one.index,
                "kind": one.kind.value,
                "missing": one.missing,
                "infinite": one.infinite,
                "min": _known(one.least),
                "median": _known(one.median),
                "max": _known(one.greatest),
                "values": one.values,
                "bins": [
                    {"share": part.share, "what": part.what, "min": part.least, "max": part.greatest, "text": part.text}
                    for part in one.bins
                ],
            }
            for one in summary.features
        ],
        "label": None
        if label is None
        else {
            "name": label.name,
            "missing": label.missing,
            "classes": None if label.classes is None else dict(label.classes),
            "min": _known(label.least),
            "median": _known(label.median),
            "max": _known(label.greatest),
        },
        "left_out": [{"why": one.why, "names": list(one.names)} for one in summary.left_out],
        "notes": list(summary.notes),
        "obstacle": summary.obstacle,
        "profile": None if summary.profile is None else parse(encode(summary.profile)),
        "written": None if written is None else str(written),
    }


def _head(summary: Summary) -> str:
    head = f"{summary.source}: {text.plural(summary.rows, 'row')}, {text.plural(summary.width, 'input column')}"
    if summary.sampled < summary.rows:
        head += f"; bins and medians are of {text.count(summary.sampled)} rows drawn evenly (seed {SEED})"
    return head


def _label(label: LabelSummary) -> str:
    missing = f"; missing in {_share(label.missing)}" if label.missing else ""
    if label.classes is not None:
        return f"label {label.name}: {text.shares(list(label.classes.items()))}{missing}"
    if label.least is None:
        return f"label {label.name}: more than {text.count(MAX_CLASSES)} different texts, which are no classes{missing}"
    what = " … ".join(text.number(value or 0.0) for value in (label.least, label.median, label.greatest))
    return f"label {label.name}: numbers, {what} (min, median, max), and no classes{missing}"


def _numeric(one: FeatureSummary) -> list[str]:
    alone = [part for part in one.bins if part.what == "value"]
    alone.sort(key=lambda part: -part.share)
    extremes = [text.number(math.nan if value is None else value) for value in (one.least, one.median, one.greatest)]
    tied = text.shares([(_bin(part), part.share) for part in alone], most=3)
    bins = sum(part.what != "missing" for part in one.bins)
    return [text.shortened(one.name, _NAME), _share(one.missing), *extremes, str(bins), tied]


def _categorical(one: FeatureSummary) -> list[str]:
    values = f"> {text.count(DEFAULT_BOUNDS.values)}" if one.values is None else text.count(one.values)
    named = [(text.shortened(_bin(part), _WHAT // 2), part.share) for part in one.bins if part.what != "missing"]
    return [text.shortened(one.name, _NAME), _share(one.missing), values, text.shares(named, most=3)]


def _infinite(one: FeatureSummary) -> str:
    rows = text.plural(one.infinite, "row")
    return f"{one.name} is infinite in {rows}: in no bin; workers count such values as invalid (inf)"


def _left_out(one: LeftOut) -> str:
    names = ", ".join(text.shortened(name, _NAME) for name in one.names[:_MOST_NAMES])
    more = len(one.names) - _MOST_NAMES
    which = f"{names}, and {text.count(more)} more" if more > 0 else names
    return f"not watched: {which}: {one.why}"


def _bin(part: Bin) -> str:
    if part.what in {"missing", "other"}:
        return part.what
    if part.text is not None:
        return part.text
    least, greatest = part.least or 0.0, part.greatest or 0.0
    return text.number(least) if part.what == "value" else f"{text.number(least)} … {text.number(greatest)}"


def _share(rate: float) -> str:
    """A share; a few rows of many are no 0.0 %."""
    return "–" if not rate else "< 0.1 %" if rate < 0.0005 else text.percent(rate, 1)


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
