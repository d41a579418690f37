"""Settings of the Prometheus server: what is understood, and what is refused before anything starts."""

from pathlib import Path
from typing import Any

import pytest

from evaluator.app import App
from evaluator.settings import EvaluatorSettings
from evaluator.sources.prometheus_access import access_of


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://prometheus:9090", ("prometheus", 9090, "")),
        ("http://prometheus:9090/", ("prometheus", 9090, "")),
        ("http://10.0.0.7", ("10.0.0.7", 80, "")),
        ("https://metrics.example.com/prometheus/", ("metrics.example.com", 443, "/prometheus")),
        ("http://[::1]:9090", ("::1", 9090, "")),
    ],
)
def test_an_address_is_taken_apart(url: str, expected: tuple[str, int, str]) -> None:
    access = access_of(EvaluatorSettings(evaluator_prometheus=url))
    assert (access.host, access.port, access.path) == expected
    assert (access.tls is not None) == url.startswith("https")
    assert access.authorization() == ""


@pytest.mark.parametrize(
    "url",
    [
        "prometheus:9090",
        "ftp://prometheus",
        "http://",
        "http://ada:secret@prometheus",
        "http://prometheus:99999",
        "http://prometheus?x=1",
        "http://prometheus#x",
        "http://prome theus",
        "http://[::1",
        "http://prometheus..svc:9090",
        f"http://{'p' * 64}:9090",
    ],
)
def test_another_address_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"CROSSFADE_EVALUATOR_PROMETHEUS: write http\(s\)://HOST:PORT") as refused:
        access_of(EvaluatorSettings(evaluator_prometheus=url))
    assert "secret@" not in str(refused.value)


TOKEN = Path("/run/secrets/token")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"_token_file": TOKEN, "_password_file": TOKEN, "_user": "ada"}, "_TOKEN_FILE or .*_PASSWORD_FILE, not both"),
        ({"_user": "ada"}, "_USER and .*_PASSWORD_FILE together, or neither"),
        ({"_password_file": TOKEN}, "_USER and .*_PASSWORD_FILE together, or neither"),
        ({"_token_file": TOKEN}, "takes https://"),
        ({"_user": "ada", "_password_file": TOKEN}, "takes https://"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        access_of(EvaluatorSettings(evaluator_prometheus="http://prometheus", **prefixed(asked)))


def prefixed(asked: dict[str, Any]) -> dict[str, Any]:
    return {f"evaluator_prometheus{key}": value for key, value in asked.items()}


@pytest.mark.parametrize("url", ["https://prometheus", "http://127.0.0.1:9090", "http://localhost:9090"])
def test_a_token_goes_over_tls_or_stays_on_the_machine(url: str) -> None:
    access = access_of(EvaluatorSettings(evaluator_prometheus=url, evaluator_prometheus_token_file=TOKEN))
    assert (access.secret, access.user) == (TOKEN, "")


async def test_an_evaluator_does_not_start_with_settings_that_it_cannot_use() -> None:
    with pytest.raises(ValueError, match="CROSSFADE_EVALUATOR_PROMETHEUS"):
        App(EvaluatorSettings(listen="127.0.0.1:0", evaluator_prometheus="prometheus:9090"))
