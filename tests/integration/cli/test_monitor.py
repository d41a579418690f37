"""How a lane is watched, by the command."""

from pathlib import Path

from tests.integration.cli.conftest import Command, Json


def test_a_lane_is_watched_otherwise_and_not_at_all(crossfade: Command, crossfade_json: Json, artifact: Path) -> None:
    crossfade("publish", "watched", str(artifact))
    assert crossfade("monitor", "watched").stdout == (
        "watched · no look yet: no Evaluator has reported to the Registry (crossfade instances lists who has)\n"
    )
    said = crossfade("monitor", "watched", "--undo", "--learn", "2h").stdout
    assert "a version's past is learnt for 2 h" in said
    assert "an alert makes the version before stable again, once" in said
    settings = crossfade_json("monitor", "watched")["settings"]
    assert settings == {"off": False, "undo": True, "learn": "7200s"}
    crossfade("monitor", "watched", "--off", "--reason", "load tests")
    assert crossfade_json("monitor", "watched")["settings"] == {"off": True, "undo": True, "learn": "7200s"}
    assert "watched is not watched" in crossfade("monitor", "watched").stdout
    assert "load tests" in crossfade("events", "watched").stdout
    said = crossfade("monitor", "watched", "--learn", "3h").stdout
    assert said == (
        "watched is not watched; what was changed counts once crossfade monitor watched --on watches it again\n"
    )
    crossfade("monitor", "watched", "--on", "--no-undo")
    assert crossfade_json("monitor", "watched")["settings"]["undo"] is False


def test_what_is_wrong_is_said(crossfade: Command, artifact: Path) -> None:
    crossfade("publish", "watched-too", str(artifact))
    assert "--learn" in crossfade("monitor", "watched-too", "--learn", "soon", code=2).output
    for learn in ("0s", "100d"):
        said = crossfade("monitor", "watched-too", "--learn", learn, code=2).output
        assert said == f"error: --learn is {learn}; use 1s to 90d\n"
    assert "--reason says why" in crossfade("monitor", "watched-too", "--reason", "x", code=2).output
    assert "--off watches nothing" in crossfade("monitor", "watched-too", "--off", "--undo", code=2).output
    assert "nobody" in crossfade("monitor", "nobody", code=1).output
