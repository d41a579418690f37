"""What is called how on the Prometheus page.

Source: OpenTelemetry specification, "Prometheus and OpenMetrics Compatibility": underscores for dots, the unit as a
suffix, the resource as `target_info`, and resource attributes as labels of every series where an exporter is asked to.
"""

from typing import Final

from services.common.telemetry.catalog import Metric

TARGET_INFO: Final = "target_info"
"""A gauge of 1 on every page, whose labels are the resource's attributes."""
SERVICE: Final = "service_name"
"""The label of target_info for `service.name`."""
INSTANCE: Final = "service_instance_id"
"""The label of every series for `service.instance.id`: a target keeps its address when its process starts anew."""


def page_name(metric: Metric) -> str:
    """The family's name: `crossfade.attempt.duration` is `crossfade_attempt_duration_seconds`."""
    return metric.name.replace(".", "_") + ("_seconds" if metric.unit == "s" else "")
