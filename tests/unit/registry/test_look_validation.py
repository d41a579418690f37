"""Looks that are refused because nobody could read their counts, and which field is named."""

import pytest

from crossfade.common.v1 import analysis_pb2
from registry.servicer import look_validation
from services.common.errors import InvalidArgumentError
from services.common.telemetry import catalog
from services.common.telemetry.largest import LARGEST_COUNT

KEY = analysis_pb2.SeriesKey(metric=catalog.INPUT_COUNT.name, labels=["0", "1"])


def look(*series: analysis_pb2.SeriesCounts, keys: tuple[analysis_pb2.SeriesKey, ...] = ()) -> analysis_pb2.Analysis:
    made = analysis_pb2.Analysis(rollout="models/m/rollouts/1", sequence=1)
    made.window.keys.extend(keys)
    made.window.instances.add(instance_id="i")
    made.window.instances.add(instance_id="j").series.extend(series)
    return made


def counts(metric: str, found: list[int], labels: tuple[str, ...] = (), key: int = 0) -> analysis_pb2.SeriesCounts:
    return analysis_pb2.SeriesCounts(metric=metric, counts=found, labels=labels, key=key)


@pytest.mark.parametrize(
    ("part", "analysis"),
    [
        ("key is 2; analysis.window has 1 keys", look(counts("", [3, 4], key=2), keys=(KEY,))),
        ("counts are 1 for 2 labels", look(counts("", [3], key=1), keys=(KEY,))),
        ("counts are 2 for 1 labels", look(counts("of.the.users.own", [3, 4], ("a",)))),
        ("counts are 1 for 0 labels", look(counts(catalog.PREDICTION_COUNT.name, [3]))),
        ("no process counts beyond", look(counts(catalog.ATTEMPT_DURATION.name, [0, LARGEST_COUNT + 1]))),
    ],
    ids=["no such key", "fewer counts than labels", "more counts than labels", "no labels", "beyond what can be"],
)
def test_counts_that_nobody_could_read_are_refused(part: str, analysis: analysis_pb2.Analysis) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        look_validation.analysis(analysis)
    assert part in str(refused.value)
    assert refused.value.field.startswith("analysis.window.instances[1].series[0].")


def test_a_cursor_is_held_to_the_same() -> None:
    analysis = look()
    analysis.cursor.instances.add().series.add(key=1)
    with pytest.raises(InvalidArgumentError, match=r"analysis.cursor.instances\[0\].series\[0\].key is 1"):
        look_validation.analysis(analysis)


def test_what_evaluators_record_is_taken() -> None:
    series = (
        counts("", [3, LARGEST_COUNT], key=1),
        counts(catalog.INPUT_ALIKE.name, [2**60, 0], ("0", "1")),
        counts(catalog.ATTEMPT_DURATION.name, [0, 5, 0]),
        counts("of.the.users.own", [7]),
    )
    assert look_validation.analysis(look(*series, keys=(KEY,))) == ("m", 1)
