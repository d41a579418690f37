"""A policy by the command: checked, forecast, replayed."""

from pathlib import Path

from tests.integration.cli.conftest import Command, Json


def test_policy_check(crossfade: Command, crossfade_json: Json, tmp_path: Path) -> None:
    good, bad, wrong = (tmp_path / name for name in ("good.yaml", "bad.yaml", "wrong.yaml"))
    good.write_text("look_interval: 2s\n")
    assert "can be used; with every default:\n\nplan:\n- " in crossfade("policy", "check", str(good)).stdout
    assert crossfade_json("policy", "check", str(good))["policy"]["look_interval"] == "2s"
    # What is printed is a policy file that says the same.
    told = crossfade("policy", "check", str(good)).stdout.partition("\n\n")[2]
    good.write_text(told)
    assert crossfade("policy", "check", str(good)).stdout.partition("\n\n")[2] == told
    assert told.startswith("plan:\n- {share: 5%, mode: live, min_duration: 0s, period: 1h}\ngates:\n- name: errors\n")
    assert "  metric: errors\n  required: true\n" in told
    assert "look_interval: 2s\nsettling: 30s\n" in told
    good.write_text("# nothing yet\n")
    said = crossfade("policy", "check", str(good)).stdout
    assert said.startswith(f"{good} says nothing, and so is the default policy:\n\nplan:\n- ")
    bad.write_text("plan:\n- share: 50%\n- share: 5%\ngates:\n- metric: errors\n")
    lines = crossfade("policy", "check", str(bad), code=1).stderr.splitlines()
    assert lines[0].startswith(f"error: {bad}:")
    assert any(f"{bad}:3: plan[1].share" in line for line in lines)
    bad.write_text("plan:\n- share: 5%\n  period: 2h\nsettling: 3h\ngates:\n- {metric: errors, required: true}\n")
    told = crossfade("policy", "check", str(bad), code=1).stderr
    assert told.startswith(f"error: {bad}:3: plan[0].period: the step's period is 2h and settling 3h, and nothing is ")
    wrong.write_text("gates:\n- metric: speed\n")
    assert f"{wrong}:2: gates[0].metric: 'speed'" in crossfade("policy", "check", str(wrong), code=2).stderr


def test_policy_check_by_key(crossfade: Command, tmp_path: Path) -> None:
    policy = tmp_path / "keyed.yaml"
    policy.write_text("gates:\n  - {metric: errors, required: true}\n  - {metric: runtime, required: true}\n")
    assert "can be used" in crossfade("policy", "check", str(policy)).stdout
    told = crossfade("policy", "check", str(policy), "--assignment", "key", code=1).stderr
    assert f"{policy}:3: gates[1]: runtime can't be judged where requests are assigned by key" in told
    assert "neither request nor key" in crossfade("policy", "check", str(policy), "--assignment", "user", code=2).stderr


def test_a_forecast_says_what_a_rollout_needs(crossfade: Command, crossfade_json: Json, running: str) -> None:
    said = crossfade("forecast", running, "--watch", "1s", "--drop", "errors=2%").stdout.splitlines()
    assert said[0].startswith(f"{running} · ")
    assert " requests/s, 0 labels/s of v1, watched for " in said[0]
    assert said[1] == "5 % for at most 1 h"
    assert said[2].split()[:3] == ["gate", "v1", "safe,"]
    assert said[3].split()[0] == "errors"
    assert "+2 pt: " in said[3]
    assert crossfade_json("forecast", running, "--watch", "1s")["stable"] == "v1"
    by_key = " ".join(crossfade("forecast", running, "--assignment", "key", code=1).stderr.split())
    assert "that is counted only while a rollout is assigned by key" in by_key
    short = crossfade("forecast", running, "--plan", "5%:10s", code=2).stderr
    assert short.startswith("error: --plan, step 1: period: the step's period is 10s and settling 30s")
    assert "--drop 'errors'" in crossfade("forecast", running, "--drop", "errors", code=2).stderr
    assert "the policy has no gate 'speed'" in crossfade("forecast", running, "--drop", "speed=1%", code=1).stderr


def test_a_rollout_that_nobody_has_looked_at_is_not_replayed(crossfade: Command, running: str, tmp_path: Path) -> None:
    assert "nobody has looked at" in crossfade("replay", running, code=1).stderr
    assert "nobody has looked at" in crossfade("replay", running, "--rollout", "1", code=1).stderr
    policy = tmp_path / "strict.yaml"
    policy.write_text("gates:\n  - {metric: recall, required: true, positive_class: none}\n")
    told = crossfade("replay", running, "--policy", str(policy), code=2).stderr
    assert f"{policy}:2: gates[0].positive_class: 'none' is no class of the model" in told
