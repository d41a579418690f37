"""Where the Prometheus server is, and what the Evaluator shows it; checked before anything starts."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from crossfade.hosts import is_loopback_host
from evaluator.settings import EvaluatorSettings
from evaluator.sources.prometheus_series import PrometheusError
from evaluator.sources.prometheus_tls import PrometheusTls

_SETTING: Final = "CROSSFADE_EVALUATOR_PROMETHEUS"


@dataclass(frozen=True, slots=True)
class Access:
    """A Prometheus server.

    Attributes:
        url: as it was given, for messages; there is no secret in it.
        host: its name or address.
        port: its port.
        path: what stands before `/api/v1`, without a slash at its end.
        tls: how an https:// server is checked; None: http.
        user: for basic authentication; empty: the secret, if any, is a bearer token.
        secret: file with the token or the password; None: neither is sent.
    """

    url: str
    host: str
    port: int
    path: str = ""
    tls: PrometheusTls | None = None
    user: str = ""
    secret: Path | None = None

    def authorization(self) -> str:
        """The header's value, empty: none; read each time, since such files are replaced.

        Raises:
            PrometheusError: the file cannot be read or is empty.
        """
        if self.secret is None:
            return ""
        try:
            text = self.secret.read_text("utf-8").strip()
        except (OSError, ValueError) as error:
            raise PrometheusError(f"the secret for Prometheus cannot be read from {self.secret}: {error}") from error
        if not text.isprintable() or not text.isascii() or not text:
            raise PrometheusError(f"{self.secret} holds no secret for Prometheus: write one line of ASCII into it")
        if not self.user:
            return f"Bearer {text}"
        return "Basic " + base64.b64encode(f"{self.user}:{text}".encode()).decode("ascii")


def access_of(settings: EvaluatorSettings) -> Access:
    """The server that the settings name.

    Raises:
        ValueError: they contradict each other, would send a secret in the open, or name a certificate that cannot be
            used.
    """
    url = settings.evaluator_prometheus.rstrip("/")
    expected = f"{_SETTING}: write http(s)://HOST:PORT, without a user; secrets come from files"
    try:
        parts = urlsplit(url)
        port = parts.port
        # As it is resolved, which fails at each look where two dots meet or a part is longer than 63 characters.
        (parts.hostname or "").encode("idna")
    except ValueError:
        raise ValueError(expected) from None
    odd = parts.query or parts.fragment or parts.username is not None or not url.isascii()
    if parts.scheme not in ("http", "https") or not parts.hostname or odd or any(map(str.isspace, url)):
        raise ValueError(expected)
    secret = settings.evaluator_prometheus_token_file or settings.evaluator_prometheus_password_file
    if settings.evaluator_prometheus_token_file and settings.evaluator_prometheus_password_file:
        raise ValueError(f"set {_SETTING}_TOKEN_FILE or {_SETTING}_PASSWORD_FILE, not both")
    if bool(settings.evaluator_prometheus_user) != bool(settings.evaluator_prometheus_password_file):
        raise ValueError(f"set {_SETTING}_USER and {_SETTING}_PASSWORD_FILE together, or neither")
    secure = parts.scheme == "https"
    if secret is not None and not secure and not is_loopback_host(parts.hostname):
        raise ValueError(f"{_SETTING}: a token or a password takes https://, or everybody on the way can read it")
    return Access(
        url=url,
        host=parts.hostname,
        port=port or (443 if secure else 80),
        path=parts.path,
        tls=_tls(settings) if secure else None,
        user=settings.evaluator_prometheus_user,
        secret=secret,
    )


def _tls(settings: EvaluatorSettings) -> PrometheusTls:
    # Whoever has no certificate for others has none for it.
    shown = (settings.tls_certificate, settings.tls_key) if settings.tls else ()
    return PrometheusTls(settings.evaluator_prometheus_ca, *shown)
