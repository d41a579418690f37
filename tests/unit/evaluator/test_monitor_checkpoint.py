"""Watching that goes on from what was kept, by this release or another."""

import json

import pytest

from evaluator.monitor import checkpoint, report
from evaluator.monitor.past import MIDDLE
from services.common.policy.metrics import MetricKind
from tests.fakes.metrics import Behaviour
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


@pytest.mark.parametrize("payload", [b"", b"{", b"{}", b'{"format":99}', b'{"format":1,"past":7}'])
def test_what_is_no_evidence_of_this_form_is_begun_anew(payload: bytes) -> None:
    assert checkpoint.load(payload, monitor_terms(), LEARN).since == 0.0


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
def test_counts_by_another_releases_buckets_are_begun_anew(part: str) -> None:
    lane = Lane()
    lane.run(LEARN / 2)
    said = json.loads(checkpoint.dump(lane.watch))
    if part == "values":
        said["past"]["values"] = [[100_000, 1]]
    elif part == "batches":
        said["past"]["sizes"][0][2] = [[100_000, 1]]
    else:
        said["lags"] = [[*lags, 1] for lags in said["lags"]]
    lane.watch = checkpoint.load(json.dumps(said).encode(), lane.terms, LEARN)
    assert lane.watch.since == 0.0
    lane.run(LEARN)
