"""`crossfade profile`, and the way of what it writes: package, publish, versions show."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.integration.cli.conftest import Command, Json


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """800 rows of an id, four inputs of the model, of which one is a text, and a label."""
    rng = np.random.default_rng(0)
    ages = rng.integers(18, 80, 800).astype(str)
    ages[:40] = ""
    columns = (
        np.arange(800).astype(str),
        ages,
        np.where(rng.random(800) < 0.6, 0, rng.integers(1, 30, 800)).astype(str),
        rng.choice(["basic", "pro", "team"], 800, p=[0.6, 0.3, 0.1]),
        np.round(rng.lognormal(3, 1, 800), 2).astype(str),
        rng.choice(["low", "middle", "high"], 800, p=[0.7, 0.2, 0.1]),
    )
    path = tmp_path_factory.mktemp("data") / "train.csv"
    rows = [",".join(row) for row in zip(*columns, strict=True)]
    path.write_text("\n".join(("id,age,calls,plan,bill,level", *rows)) + "\n")
    return path


INPUTS = ("--label", "level", "--exclude", "id")
CODES = ("--codes", "plan=basic,pro,team")


def test_what_training_data_looks_like(crossfade: Command, data: Path) -> None:
    lines = crossfade("profile", str(data), *INPUTS).stdout.splitlines()
    assert lines[0] == "train.csv: 800 rows, 4 input columns"
    assert lines[1].startswith(" label level: low 69.6 %, middle 21.6 %, high 8.8 %")
    assert lines[2].split() == [
        "numeric",
        "missing",
        "min",
        "median",
        "max",
        "bins",
        *["values", "with", "a", "bin", "of", "their", "own"],
    ]
    assert lines[3].split()[:5] == ["age", "5.0", "%", "18", "50"]
    assert lines[4].split()[:5] == ["calls", "–", "0", "0", "29"]
    assert lines[4].endswith("  0 59.6 %")
    assert lines[7].split()[:4] == ["plan", "–", "3", "basic"]
    assert lines[8].startswith("no profile can be made of it yet: plan holds texts, and a model takes numbers")
    assert max(map(len, lines[:8])) <= 100


def test_every_bin_is_shown_when_asked_for(crossfade: Command, data: Path) -> None:
    said = crossfade("profile", str(data), *INPUTS, *CODES, "--features", "age,plan", "--bins").stdout
    assert "age (numeric, 11 bins)" in said
    assert "\n missing   5.0 %  █░░" in said
    assert "plan (categorical, 3 bins)\n basic  " in said
    assert said.endswith("nothing written: --to FILE writes the reference profile\n")


def test_json_has_everything(crossfade_json: Json, data: Path) -> None:
    answer = crossfade_json("profile", str(data), *INPUTS, *CODES)
    assert (answer["format"], answer["rows"], answer["sampled_rows"], answer["width"]) == ("csv", 800, 800, 4)
    assert [one["name"] for one in answer["features"]] == ["age", "calls", "plan", "bill"]
    age, calls, plan, _ = answer["features"]
    assert (age["missing"], age["min"], age["max"], age["index"]) == (0.05, 18, 79, 0)
    assert age["bins"][-1] == {"share": 0.05, "what": "missing", "min": None, "max": None, "text": None}
    assert calls["bins"][0]["what"] == "value"
    assert [one["text"] for one in plan["bins"]] == ["basic", "pro", "team"]
    assert sum(answer["label"]["classes"].values()) == pytest.approx(1)
    assert [len(one["proportions"]) for one in answer["profile"]["features"]] == [11, 5, 4, 10]
    assert answer["written"] is None


def test_a_profile_is_packaged_published_and_shown(
    crossfade: Command, crossfade_json: Json, data: Path, sources: Path, tmp_path: Path
) -> None:
    profile, folder = tmp_path / "profile.json", tmp_path / "m"
    said = crossfade("profile", str(data), *INPUTS, *CODES, "--to", str(profile)).stdout
    assert said.endswith(f"profile written: {profile}; crossfade package … --profile {profile}\n")
    package = ("package", f"{sources / 'model.py'}:make", "--example", str(sources / "rows.npy"), "--to", str(folder))
    said = crossfade(*package, "--classes", "low,middle,high", "--profile", str(profile)).stdout
    assert "classification, 4 features watched for drift" in said
    crossfade("publish", "profiled", str(folder))

    version = crossfade_json("versions", "show", "profiled", "v1")["profile"]
    assert [one["feature"] for one in version["features"]] == ["age", "calls", "plan", "bill"]
    assert [len(one["proportions"]) - len(one["edges"]) for one in version["features"]] == [2, 1, 1, 1]
    assert version["features"][0]["proportions"][-1] == 0.05
    classes = json.loads(profile.read_text())["profile"]["classes"]
    assert version["class_proportions"] == [classes[name] for name in ("low", "middle", "high")]
    shown = crossfade("versions", "show", "profiled", "v1").stdout
    assert f"profile        {version['profile_id']}: 4 features, 800 rows" in shown
    assert "class balance  low 69.6 %, middle 21.6 %, high 8.8 %" in shown
    assert "missing        age 5.0 %" in shown


def test_what_does_not_fit_the_model_is_refused(crossfade: Command, data: Path, sources: Path, tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    package = ("package", f"{sources / 'model.py'}:make", "--example", str(sources / "rows.npy"), "--to")
    folder = str(tmp_path / "never")
    crossfade("profile", str(data), "--label", "level", *CODES, "--to", str(profile))
    refused = crossfade(*package, folder, "--profile", str(profile), code=1).stderr
    assert "has 5 columns beside the label and what was excluded, and the input 'input' has 4" in refused
    crossfade("profile", str(data), *INPUTS, *CODES, "--to", str(profile))
    refused = crossfade(*package, folder, "--profile", str(profile), "--classes", "a,b,c", code=1).stderr
    assert "the label has the class 'high', which the model does not have (a, b, c)" in refused
    refused = crossfade(
        *package, folder, "--profile", str(profile), "--features", "ages,calls,plan,bill", code=1
    ).stderr
    assert "the input has no column 'age': did you mean ages?" in refused
    both = ("--profile", str(profile), "--reference", str(sources / "rows.npy"))
    assert "takes the place of reference" in crossfade(*package, folder, *both, code=1).stderr
    assert "is no profile" in crossfade(*package, folder, "--profile", str(data), code=1).stderr
    assert not (tmp_path / "never").exists()


def test_an_array_is_profiled_by_position(crossfade: Command, crossfade_json: Json, sources: Path) -> None:
    answer = crossfade_json("profile", str(sources / "rows.npy"), "--exclude", "0", "--input", "x")
    assert [(one["name"], one["index"]) for one in answer["features"]] == [("x[0]", 0), ("x[1]", 1), ("x[2]", 2)]
    assert "64 rows, 4 input columns" in crossfade("profile", str(sources / "rows.npy")).stdout


def test_labels_may_be_an_array_of_their_own(crossfade: Command, sources: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "y.npy", np.arange(64) % 4 == 0)
    said = crossfade("profile", str(sources / "rows.npy"), "--label", str(tmp_path / "y.npy")).stdout
    assert "64 rows, 4 input columns\n label y.npy: 0 75.0 %, 1 25.0 %\n" in said
    absent = crossfade("profile", str(sources / "rows.npy"), "--label", "/nowhere/y.npy", code=1).stderr
    assert absent.startswith("error: /nowhere/y.npy cannot be read")


def test_wide_data_says_what_is_left_out(crossfade: Command, tmp_path: Path) -> None:
    np.save(tmp_path / "wide.npy", np.random.default_rng(0).normal(size=(20, 70)))
    said = crossfade("profile", str(tmp_path / "wide.npy")).stdout
    assert " not watched: input[" in said
    assert "a profile holds 64 features, and these are evenly spaced; choose: --features a,b,c" in said


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("absent.csv",), 1, "error: absent.csv cannot be read: No such file or directory"),
        (("DATA", "--label", "levle"), 2, "error: --label: there is no column 'levle'; did you mean level"),
        (("DATA", "--codes", "plan"), 2, "error: --codes 'plan': write COLUMN=A,B,C"),
        (("DATA", "--codes", "plan=basic,pro"), 2, "error: --codes: 'plan' has 'team' besides"),
        (("DATA", "--to", "DATA"), 1, "exists and is no profile: choose another file for --to"),
        (("DATA", "--to", "NEW"), 1, "error: no profile can be made of train.csv: plan, level hold texts"),
        (("DATA", "--exclude", "plan,level", "--to", "/nowhere/p.json"), 1, "error: /nowhere/p.json cannot be written"),
        (("DATA", "--exclude", "plan", "--input", "no name"), 1, "is no tensor name"),
    ],
)
def test_refusals(
    crossfade: Command, data: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    before = data.read_bytes()
    places = {"DATA": str(data), "NEW": str(tmp_path / "new.json")}
    result = crossfade("profile", *(places.get(one, one) for one in arguments), code=code)
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert data.read_bytes() == before
