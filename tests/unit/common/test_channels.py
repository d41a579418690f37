"""Channels between services."""

from services.common.channels import OPTIONS
from services.common.settings import ServiceSettings


def test_a_dead_connection_to_the_registry_is_given_up_before_the_lease_is_over() -> None:
    lease = ServiceSettings.model_fields["lease_seconds"].default
    given_up = dict(OPTIONS)["grpc.keepalive_timeout_ms"] / 1000
    # The report that finds it dead may be a third of the lease later than the last one, and the next needs its time.
    assert lease / 3 + given_up <= lease * 2 / 3
