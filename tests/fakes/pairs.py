"""Rows that both versions answered, since they were mirrored: how these are counted, and their labels."""

import numpy as np
from numpy.random import Generator

from services.common.telemetry import catalog
from services.common.telemetry.store import MetricStore


def count_pairs(
    store: MetricStore, in_segment: tuple[str, ...], rows: int, different: float, random: Generator
) -> None:
    """Counts mirrored rows, of which the test version answers a share otherwise.

    Args:
        store: where they are counted.
        in_segment: the model, the version, the traffic and the lane's segment.
        rows: how many.
        different: the share.
        random: where chance comes from.
    """
    other = int(random.binomial(rows, different))
    for pair, number in ((("3", "3"), rows - other), (("3", "7"), other)):
        store.counter(catalog.SHADOW_PAIR_COUNT, *in_segment, *pair).add(number)


def count_paired_labels(
    store: MetricStore,
    in_slice: tuple[str, ...],
    rows: int,
    wrong: tuple[float, float],
    labelled: tuple[float, float],
    random: Generator,
) -> None:
    """Counts labels that meet both answers; nine rows of ten are as hard for one version as for the other.

    Args:
        store: where they are counted.
        in_slice: the model, the version, the traffic, the lane's segment and the slice.
        rows: how many were mirrored.
        wrong: shares of them on which the stable and on which the test version is wrong. There are two classes.
        labelled: share of those on which stable is right that get a label, and of those on which it is wrong.
        random: where chance comes from.
    """
    hard = random.random(rows)
    other = np.where(random.random(rows) < 0.9, hard, random.random(rows))
    stable, test = hard < wrong[0], other < wrong[1]
    noted = random.random(rows) < np.where(stable, labelled[1], labelled[0])
    for stable_wrong in (False, True):
        for test_wrong in (False, True):
            alike = (stable == stable_wrong) & (test == test_wrong)
            agree = "yes" if stable_wrong == test_wrong else "no"
            words = ("wrong" if one else "right" for one in (stable_wrong, test_wrong))
            store.counter(catalog.SHADOW_NOTED_COUNT, *in_slice, agree).add(int(alike.sum()))
            store.counter(catalog.SHADOW_LABEL_COUNT, *in_slice, agree, *words).add(int((alike & noted).sum()))
