"""The series of the pages /metrics/operations, and those that an expression of PromQL names."""

import re
from collections.abc import Iterator
from typing import Final

from services.common.telemetry.catalog import Kind
from services.common.telemetry.otlp import METRICS
from services.common.telemetry.page_names import INSTANCE, page_name

_SUFFIXES: Final = {Kind.COUNTER: ("_total",), Kind.HISTOGRAM: ("_bucket", "_sum", "_count"), Kind.GAUGE: ("",)}
_OF_TARGETS: Final = frozenset({"job", "instance", "service", INSTANCE})
"""Labels that Prometheus, docker/prometheus.yaml and each page add to every series."""
_WORDS: Final = frozenset(
    ("sum", "max", "min", "rate", "increase", "absent", "histogram_quantile", "time", "or", "and", "unless")
)
"""Names of PromQL itself."""

_OF_PROCESSES: Final = ("process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds")
_GROUPING: Final = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")
_SERIES: Final = re.compile(r"\b([a-z_]\w*)\s*(?:\{([^}]*)\})?")


def exported() -> dict[str, frozenset[str]]:
    """Labels by name of each series that a service exports for those who run it."""
    found = dict.fromkeys(("up", *_OF_PROCESSES), _OF_TARGETS)
    for metric in METRICS.values():
        if not metric.is_evidence:
            for suffix in _SUFFIXES[metric.kind]:
                le = {"le"} if suffix == "_bucket" else set()
                found[page_name(metric) + suffix] = _OF_TARGETS | set(metric.attributes) | le
    return found


def named(expression: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Each series that an expression names, with the labels that it selects and groups by."""
    bare = re.sub(r"\[[^\]]*\]", "", re.sub(r'"[^"]*"', '""', expression))
    grouped = {label.strip() for labels in _GROUPING.findall(bare) for label in labels.split(",") if label.strip()}
    for name, selector in _SERIES.findall(_GROUPING.sub("", bare)):
        if name not in _WORDS:
            yield name, frozenset({*re.findall(r"(\w+)\s*[=!]", selector), *grouped})
