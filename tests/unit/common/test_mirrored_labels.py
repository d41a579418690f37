"""Labels of mirrored requests: which version was right."""

from services.common.feedback import Status
from services.common.prediction_token import TokenKeys
from services.common.telemetry import catalog
from tests.unit.common.desk import KEYS, Desk


def paired(desk: Desk, metric: catalog.Metric = catalog.SHADOW_LABEL_COUNT) -> dict[tuple[str, ...], int]:
    """Rows of mirrored requests by version, traffic, slice, and whether the versions agree and were right."""
    return {
        one.attributes[1:3] + one.attributes[4:]: one.counts[0] for one in desk.store.snapshot() if one.metric is metric
    }


def test_a_label_of_a_mirrored_request_says_which_version_was_right() -> None:
    desk = Desk()
    stable = desk.token(classes=(1, 0, 1))
    desk.book.pair(stable, desk.token(version="v2", traffic=3, slice=11, classes=(1, 1)))
    # Of the third row the test version has said nothing; the slice is that of the answer which gets the label.
    at = ("v2", "shadow", "3.10")
    assert paired(desk, catalog.SHADOW_NOTED_COUNT) == {(*at, "yes"): 1, (*at, "no"): 1}
    for row, actual in enumerate(("churn", "keep", "churn")):
        desk.book.label(stable, row, actual)
    assert paired(desk) == {(*at, "yes", "right", "right"): 1, (*at, "no", "right", "wrong"): 1}


def test_only_so_many_pairs_are_remembered_and_no_forged_ones() -> None:
    desk = Desk(pairs=2)
    tokens = [desk.token() for _ in range(3)]
    for token in tokens:
        desk.book.pair(token, desk.token(version="v2", traffic=3))
    assert desk.book.awaited == 2
    foreign = TokenKeys({1: b"x" * 32}, signing=1).sign(KEYS.verify(desk.token(version="v2")))
    desk.book.pair(desk.token(), foreign)
    desk.book.pair("no token", tokens[0])
    for token in tokens:
        desk.book.label(token, 0, "churn")
    assert sum(paired(desk).values()) == 2
    unknown = desk.token()
    desk.book.pair(unknown, desk.token(version="v9", traffic=3))
    assert desk.book.label(unknown, 0, "churn").status is Status.ACCEPTED
    assert sum(paired(desk).values()) == 2


def test_what_has_all_of_its_labels_is_awaited_no_more_and_a_pair_noted_twice_counts_once() -> None:
    desk = Desk()
    stable, test = desk.token(), desk.token(version="v2", traffic=3)
    desk.book.pair(stable, test)
    desk.book.pair(stable, test)
    assert sum(paired(desk, catalog.SHADOW_NOTED_COUNT).values()) == 2
    desk.book.label(stable, 0, "churn")
    assert desk.book.awaited == 1
    desk.book.label(stable, 1, "churn")
    assert desk.book.awaited == 0
