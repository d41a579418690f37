"""docs/metrics.md lists every metric as the catalog has it, and who exports it as the sources say."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from services.common.telemetry import catalog, operations
from services.common.telemetry.catalog import Kind, Metric

ROOT: Final = Path(__file__).parents[3]
_CERTIFICATES: Final = "services/common/own_certificate.py"
SOURCES: Final = {
    # Where a service names what it counts; readers name them elsewhere.
    "Registry": ("registry/meters.py", _CERTIFICATES),
    "Router": ("router/**/*.py", "services/common/feedback.py", _CERTIFICATES),
    "Worker": ("services/worker/**/*.py", "services/common/feedback.py", _CERTIFICATES),
    "Evaluator": ("evaluator/meters.py", _CERTIFICATES),
}


def _constants() -> Iterator[tuple[str, Metric]]:
    """Each metric with the words that a source names it by."""
    for module in (catalog, operations):
        for name, one in vars(module).items():
            if isinstance(one, Metric):
                yield f"{module.__name__.rpartition('.')[2]}.{name}", one


def _exporters() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for service, patterns in SOURCES.items():
        text = "".join(file.read_text() for pattern in patterns for file in sorted(ROOT.glob(pattern)))
        for words, metric in _constants():
            if re.search(rf"\b{words}\b", text):
                found.setdefault(metric.name, []).append(service)
    return found


def _rows(*, evidence: bool) -> list[str]:
    exporters = _exporters()
    return [
        f"| `{metric.name}` | {metric.kind}{', s' if metric.unit == 's' else ''} | {_labels(metric)} "
        f"| {', '.join(exporters[metric.name])} | {metric.description} |"
        for _, metric in _constants()
        if metric.is_evidence is evidence
    ]


def _labels(metric: Metric) -> str:
    names = (*metric.attributes, *((metric.spread,) if metric.spread else ()))
    return ", ".join(f"`{name}`" for name in names) or "none"


def test_each_metric_is_exported_by_somebody() -> None:
    assert {metric.name for _, metric in _constants()} == set(_exporters())


def test_the_tables_are_those_of_the_catalog() -> None:
    page = (ROOT / "docs/metrics.md").read_text()
    sections = page.split("\n## ")
    for title, evidence in (("To operate by", False), ("Evidence", True)):
        (section,) = (one for one in sections if one.startswith(title))
        rows = [line for line in section.splitlines() if line.startswith("| `crossfade.")]
        assert rows == _rows(evidence=evidence), "the table should be:\n" + "\n".join(_rows(evidence=evidence))


def test_every_kind_has_its_suffix_on_the_page() -> None:
    page = (ROOT / "docs/metrics.md").read_text()
    for kind in Kind:
        assert f"a {kind}" in page
