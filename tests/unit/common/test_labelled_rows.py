"""Which rows were labelled."""

import time

from services.common.labelled_rows import LabelledRows


def test_the_oldest_are_forgotten_first() -> None:
    rows = LabelledRows(3)
    for nonce in (7, 5, 9):
        rows[nonce] = 1
    # What is labelled again is no younger for it.
    rows[7] |= 2
    assert [rows[nonce] for nonce in (7, 5, 9, 8)] == [3, 1, 1, 0]
    rows[8] = 4
    assert [rows[nonce] for nonce in (7, 5, 9, 8)] == [0, 1, 1, 4]
    rows[7] = 1
    assert [rows[nonce] for nonce in (7, 5, 9, 8)] == [1, 0, 1, 4]
    assert len(rows) == 3


def seconds_to_label(rows: LabelledRows, predictions: range) -> float:
    begun = time.process_time()
    for nonce in predictions:
        rows[nonce] = 1
    return time.process_time() - begun


def test_one_that_forgets_is_about_as_quick_as_one_that_does_not_yet() -> None:
    most = 100_000
    rows = LabelledRows(most)
    filling = seconds_to_label(rows, range(most))
    assert seconds_to_label(rows, range(most, 2 * most)) < 10 * filling
    assert len(rows) == most
