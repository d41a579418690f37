"""Watching that goes on from what was kept, by this release or another."""

import json
import math
from dataclasses import replace

import pytest

from evaluator.monitor import checkpoint, report
from evaluator.monitor.past import MIDDLE
from services.common.policy.metrics import MetricKind
from tests.fakes.metrics import Behaviour
from tests.unit.evaluator.monitor_scene import Scene
from tests.unit.evaluator.monitored import LEARN, Lane, learnt, monitor_terms


def test_it_goes_on_from_what_was_kept_to_the_last_bit() -> None:
    lanes = Lane(3), Lane(3, kept=True)
    for lane in lanes:
        lane.run(2 * LEARN)
        lane.fleet.stable = Behaviour(errors=0.01, wrong=0.12)
        lane.fleet.shift = 0.2
        lane.run(3600)
    assert checkpoint.dump(lanes[0].watch) == checkpoint.dump(lanes[1].watch)
    assert lanes[0].told == lanes[1].told
    assert len(lanes[0].told) > 1


def test_evidence_of_other_statistics_begins_anew_and_the_past_stays() -> None:
    lane = learnt()
    lane.fleet.stable = Behaviour(errors=0.05)
    lane.run(300)
    kept = json.loads(checkpoint.dump(lane.watch)) | {"statistics": 0}
    watch = checkpoint.load(json.dumps(kept).encode(), lane.terms, LEARN)
    assert report.alerts(watch) == ()
    assert watch.past == lane.watch.past
    assert [one.past for one in watch.watched] == [one.past for one in lane.watch.watched]
    assert all(one.harm.max_log_e == 0.0 for one in watch.watched)


def test_nothing_that_was_kept_is_a_watch_before_its_first_look() -> None:
    assert checkpoint.load(b"", monitor_terms(), LEARN).since == 0.0


@pytest.mark.parametrize("payload", [b"{", b"{}", b"[]", b'{"format":99}', b'{"format":1,"past":7}'])
async def test_what_is_no_evidence_of_this_form_is_begun_anew(payload: bytes) -> None:
    scene = Scene()
    await scene.look(2)
    scene.kept.view = replace(scene.kept.view, evidence=payload)
    await _begins_anew(scene)


_INNER = {
    "a time that no float has": (("since",), 10**400),
    "a time that is none": (("time",), "noon"),
    "wealth that is no number": (("watched", 0, "harm", 0, 0), math.nan),
    "wealth of other bets": (("watched", 0, "harm", 0), [[0.0] * 3]),
    "other numbers of a look": (("watched", 0, "recent"), [[1, 2, 3]]),
    "attempts that no message has": (("watched", 0, "past", 0), 2**70),
    "inputs of another profile": (("inputs", "counts"), [[1.0] * 7]),
    "lags by other buckets": (("lags", 0), [1, 2]),
    "answers without a number": (("past", "answers"), {"3": None}),
}


@pytest.mark.parametrize("inner", list(_INNER))
async def test_what_has_another_shape_inside_is_begun_anew(inner: str) -> None:
    scene = Scene()
    await scene.look(14)
    said = json.loads(scene.kept.view.evidence)
    (*path, last), value = _INNER[inner]
    target = said
    for name in path:
        target = target[name]
    assert target[last] != value
    target[last] = value
    scene.kept.view = replace(scene.kept.view, evidence=json.dumps(said).encode())
    await _begins_anew(scene)


async def _begins_anew(scene: Scene) -> None:
    """The next look says once that the past is learnt anew, and it is."""
    looks = len(scene.kept.records)
    assert scene.lines.getvalue() == ""
    await scene.look(3)
    assert len(scene.kept.records) == looks + 3
    assert scene.kept.records[looks].decision.reason.startswith("learns what v1 is like, for 5 min more")
    assert scene.kept.records[-1].decision.reason.startswith("learns what v1 is like, for 4 min more")
    (line,) = scene.lines.getvalue().splitlines()
    assert "what was kept of a lane cannot be gone on from" in line


def test_a_checkpoint_of_an_older_release_is_taken_over() -> None:
    lane = learnt()
    said = json.loads(checkpoint.dump(lane.watch))
    del said["values"], said["alike"], said["inputs"]["alike"], said["outputs"]["alike"]
    del said["past"]["values"]
    loaded = checkpoint.load(json.dumps(said).encode(), lane.terms, LEARN)
    assert loaded.past == lane.watch.past
    assert loaded.values is None
    assert len(loaded.watched) == len(lane.watch.watched)
    assert loaded.inputs is not None
    assert loaded.inputs.alike.effects is None


def test_the_past_is_taken_over_from_a_release_that_watches_more() -> None:
    lane = learnt()
    said = json.loads(checkpoint.dump(lane.watch))
    said["statistics"] += 1
    said["watched"].append(said["watched"][0] | {"metric": "calibration"})
    said["past"]["calibration"] = [1, 2]
    loaded = checkpoint.load(json.dumps(said).encode(), lane.terms, LEARN)
    assert loaded.past == lane.watch.past
    assert [one.metric for one in loaded.watched] == [one.metric for one in lane.watch.watched]


def test_a_past_of_all_batch_sizes_in_one_is_learnt_anew() -> None:
    """Releases before this one kept it so."""
    lane = learnt()
    said = json.loads(checkpoint.dump(lane.watch))
    del said["past"]["sizes"]
    said["past"]["batches"] = [0] * 60 + [9_000] + [0] * (len(MIDDLE) - 61)
    said["watched"] = [{name: of[name] for name in of if name != "size"} for of in said["watched"]]
    lane.watch = checkpoint.load(json.dumps(said).encode(), lane.terms, LEARN)
    assert [one.metric for one in lane.watch.watched] == [MetricKind.ERRORS, MetricKind.ACCURACY]
    assert not lane.watch.past.batches
    lane.run(LEARN / 2)
    assert "runtime is not watched yet: its past " in report.decision(lane.watch).reason
    lane.run(LEARN)
    assert MetricKind.RUNTIME in {one.metric for one in lane.watch.watched}
    assert lane.told == [""]


@pytest.mark.parametrize("part", ["batches", "values", "lags"])
def test_counts_by_another_releases_buckets_are_none_of_this_form(part: str) -> None:
    lane = Lane()
    lane.run(LEARN / 2)
    said = json.loads(checkpoint.dump(lane.watch))
    if part == "values":
        said["past"]["values"] = [[100_000, 1]]
    elif part == "batches":
        said["past"]["sizes"][0][2] = [[100_000, 1]]
    else:
        said["lags"] = [[*lags, 1] for lags in said["lags"]]
    with pytest.raises((IndexError, ValueError)):
        checkpoint.load(json.dumps(said).encode(), lane.terms, LEARN)
