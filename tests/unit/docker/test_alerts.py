"""alerts.yaml: each rule reads what the services export, says what to do, and fires when it should and not before."""

import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support.prometheus import AbsentError, promtool
from tests.support.series import exported, named

Rules = dict[str, dict[str, Any]]

HEARD: Final = 'crossfade_route_table_age_seconds{instance="router:9500"}'
LOOKS: Final = 'crossfade_look_duration_seconds_count{outcome="ok"}'
LATE: Final = 'crossfade_feedback_late_count_total{model="m",version="v1"}'
FIRES: Final[dict[str, tuple[dict[str, str], dict[str, str]]]] = {
    # Series by rule, a value a minute: with these it fires after 100 minutes, and with those it does not.
    "CrossfadeTargetDown": (
        {'up{job="crossfade",service="router"}': "1x50 0x50"},
        {'up{job="crossfade",service="router"}': "1x100", 'up{job="prometheus"}': "0x100"},
    ),
    "CrossfadeCertificateExpires": (
        {"crossfade_certificate_expiry_seconds": f"{86400}x100"},
        {"crossfade_certificate_expiry_seconds": f"{9 * 86400}x100"},
    ),
    "CrossfadeNoEvaluator": (
        {'up{job="crossfade",service="evaluator",instance="a"}': "0x100"},
        {
            f'up{{job="crossfade",service="evaluator",instance="{name}"}}': f"{up}x100"
            for name, up in (("a", 0), ("b", 1))
        },
    ),
    "CrossfadeRoutesOld": ({HEARD: "1x95 90x5"}, {HEARD: "40x100"}),
    "CrossfadeCallsFail": (
        {
            'crossfade_route_duration_seconds_count{model="m",outcome="ok"}': "0+98x100",
            'crossfade_route_duration_seconds_count{model="m",outcome="INTERNAL"}': "0+2x100",
        },
        {
            'crossfade_route_duration_seconds_count{model="m",outcome="ok"}': "0+98x100",
            'crossfade_route_duration_seconds_count{model="m",outcome="INVALID_ARGUMENT"}': "0+2x100",
        },
    ),
    "CrossfadeOverloaded": (
        {'crossfade_attempt_duration_seconds_count{model="m",outcome="RESOURCE_EXHAUSTED"}': "0+1x100"},
        {'crossfade_attempt_duration_seconds_count{model="m",outcome="RESOURCE_EXHAUSTED"}': "5x100"},
    ),
    "CrossfadeNobodyLooks": (
        {"crossfade_rollouts_watched": "1x100", LOOKS: "9x100"},
        {"crossfade_rollouts_watched": "1x100", LOOKS: "0+9x100"},
    ),
    "CrossfadeDatabaseFails": (
        {'crossfade_registry_transaction_duration_seconds_count{outcome="CONTENTION"}': "0+1x100"},
        {'crossfade_registry_transaction_duration_seconds_count{outcome="ETAG_MISMATCH"}': "0+1x100"},
    ),
    "CrossfadeDatabaseContended": (
        {
            "crossfade_registry_retry_count_total": "0+3x100",
            'crossfade_registry_transaction_duration_seconds_count{outcome="ok"}': "0+10x100",
        },
        {
            "crossfade_registry_retry_count_total": "0+1x100",
            'crossfade_registry_transaction_duration_seconds_count{outcome="ok"}': "0+10x100",
        },
    ),
    "CrossfadeLabelsLate": (
        # None at all in time is late too.
        {LATE: "0+1x100"},
        {LATE: "0+1x100", 'crossfade_feedback_lag_seconds_count{model="m",version="v1"}': "0+99x100"},
    ),
}


@pytest.fixture
def rules(root: Path) -> Rules:
    groups = yaml.safe_load((root / "docker/alerts.yaml").read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def test_every_series_that_a_rule_names_is_exported_with_these_labels(rules: Rules) -> None:
    known = exported()
    for name, rule in rules.items():
        found = list(named(rule["expr"]))
        assert found, name
        for series, labels in found:
            assert series in known, (name, series)
            assert labels <= known[series], (name, series, labels - known[series])


def test_every_rule_says_what_it_is_and_what_to_do(rules: Rules) -> None:
    assert len(rules) == 10
    for name, rule in rules.items():
        assert set(rule["annotations"]) == {"summary", "description"}, name
        assert all(rule["annotations"].values())
        assert rule["labels"]["severity"] in ("page", "ticket"), name
        assert rule["for"], name


def _promtool(*arguments: str) -> None:
    try:
        command = [str(promtool()), *arguments]
    except AbsentError as error:
        pytest.skip(str(error))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_them(root: Path) -> None:
    _promtool("check", "rules", "--lint-fatal", str(root / "docker/alerts.yaml"))


def test_each_rule_fires_when_it_should_and_not_before(rules: Rules, root: Path, tmp_path: Path) -> None:
    assert set(FIRES) == set(rules)
    cases: list[dict[str, Any]] = []
    for name, (bad, good) in FIRES.items():
        for series, count in ((bad, 1), (good, 0)):
            counted = f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)'
            cases.append(
                {
                    "name": f"{name}: {count}",
                    "interval": "1m",
                    "input_series": [{"series": one, "values": values} for one, values in series.items()],
                    "promql_expr_test": [
                        {"expr": counted, "eval_time": "100m", "exp_samples": [{"labels": "{}", "value": count}]}
                    ],
                }
            )
    file = tmp_path / "cases.yaml"
    alerts = str(root / "docker/alerts.yaml")
    file.write_text(yaml.safe_dump({"rule_files": [alerts], "evaluation_interval": "1m", "tests": cases}))
    _promtool("test", "rules", str(file))
