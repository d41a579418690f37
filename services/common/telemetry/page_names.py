"""What is called how on the Prometheus page.

Source: OpenTelemetry specification, "Prometheus and OpenMetrics Compatibility": underscores for dots, the unit as a
suffix, the resource as `target_info`, and resource attributes as labels of every series where an exporter is asked to.
"""

from typing import Final

from services.common.telemetry.catalog import SPLIT_ATTRIBUTES, Kind, Metric

TARGET_INFO: Final = "target_info"
"""A gauge of 1 on every page, whose labels are the resource's attributes."""
SERVICE: Final = "service_name"
"""The label of target_info for `service.name`."""
BUILD_INFO: Final = "crossfade_build_info"
"""A gauge of 1 on every page, whose label is the release. Not in target_info yet: an Evaluator of 0.1.0 that reads from
Prometheus takes each label there for one of the target."""
VERSION: Final = "service_version"
"""The label for `service.version`."""
INSTANCE: Final = "service_instance_id"
"""The label of every series for `service.instance.id`: a target keeps its address when its process starts anew."""

STARTED: Final = "process_start_time_seconds"
"""When the process started, by its own clock: the name that every client of Prometheus gives it."""
UPTIME: Final = "process_uptime_seconds"
"""For how long it has run: with its start it says what its clock shows, which may not be what Prometheus's does."""
CREATED: Final = "_created"
"""Ends the name of the series that says since when another counts, as OpenMetrics has it."""


def says_created(metric: Metric) -> bool:
    """Whether the page says since when each series of a metric counts.

    Not of an epoch's or a slice's, which are counted from zero whenever they appear, nor of those spread over labels,
    each of which would take a line more.
    """
    return metric.kind is not Kind.GAUGE and not metric.spread and SPLIT_ATTRIBUTES.isdisjoint(metric.attributes)


def page_name(metric: Metric) -> str:
    """The family's name: `crossfade.attempt.duration` is `crossfade_attempt_duration_seconds`."""
    return metric.name.replace(".", "_") + ("_seconds" if metric.unit == "s" else "")
