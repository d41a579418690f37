"""Settings that every service reads: from the environment (CROSSFADE_…) or from arguments."""

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from crossfade.connection import checked_address
from crossfade.hosts import host_and_port, no_address


class TlsSettings(BaseSettings):
    """Files of mutual TLS; all three or none.

    Attributes:
        tls_certificate: PEM chain of this process.
        tls_key: its PEM private key.
        tls_ca: PEM certificates that peers are checked against.
    """

    model_config = SettingsConfigDict(env_prefix="CROSSFADE_", extra="ignore")

    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None

    @property
    def tls(self) -> bool:
        """True when TLS is on.

        Raises:
            ValueError: some of the three files are set, but not all.
        """
        files = (self.tls_certificate, self.tls_key, self.tls_ca)
        if any(files) and not all(files):
            raise ValueError(
                "set CROSSFADE_TLS_CERTIFICATE, CROSSFADE_TLS_KEY and CROSSFADE_TLS_CA together, or none of them"
            )
        return all(files)


class ServiceSettings(TlsSettings):
    """Settings of one service.

    Attributes:
        listen: host:port of the gRPC server; port 0: any free one.
        advertise: host:port under which others reach it. Default: the address that it listens on; needed where that
            is 0.0.0.0 or [::].
        registry: host:port of the Registry.
        trust_domain: with TLS, callers' URIs must be of this SPIFFE trust domain; empty: of any that the CA signs.
        metrics_listen: host:port of the Prometheus page; empty: none.
        otlp_endpoint: where traces go, as http://host:4317; empty: nowhere.
        trace_ratio: share of ordinary calls that are traced, 0 to 1.
        log_level: debug, info, warning or error.
        drain_seconds: how long calls in flight may take when the service ends.
        lease_seconds: how long the Registry believes in this process without hearing of it.
        channelz: serve grpc.channelz.
    """

    listen: str = "127.0.0.1:0"
    advertise: str = ""
    registry: str = "127.0.0.1:8400"
    trust_domain: str = Field(default="", max_length=255)
    metrics_listen: str = ""
    otlp_endpoint: str = ""
    trace_ratio: float = Field(default=0.01, ge=0, le=1)
    log_level: str = "info"
    drain_seconds: float = Field(default=10.0, ge=0)
    lease_seconds: float = Field(default=15.0, ge=1, le=600)
    channelz: bool = False

    @field_validator("listen", "metrics_listen")
    @classmethod
    def _place(cls, value: str, info: ValidationInfo) -> str:
        if host_and_port(value) is None and (value or info.field_name == "listen"):
            raise ValueError(no_address(value, "127.0.0.1:8500"))
        return value

    @field_validator("registry")
    @classmethod
    def _target(cls, value: str) -> str:
        return checked_address(value, "registry.example.org:8400")

    @field_validator("advertise")
    @classmethod
    def _advertised(cls, value: str) -> str:
        return checked_address(value, "router-1.example.org:8500") if value else value

    @field_validator("otlp_endpoint")
    @classmethod
    def _endpoint(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError(f"{value!r} is no URL: write http://HOST:4317, or https://HOST:4317 for TLS")
        return value
