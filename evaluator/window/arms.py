"""What a window says of each arm: the rows that the gates' tests take, each from one process."""

from collections.abc import Iterable, Mapping
from typing import Final

from evaluator.terms import Profile, Terms
from evaluator.window.counts import Counts, InstanceCounts, Series
from evaluator.window.labels import RateRow
from services.common.telemetry import catalog

LIVE: Final = "live"
SHADOW: Final = "shadow"
CONTROL: Final = "control"
OK: Final = "ok"
NOT_TAKEN: Final = frozenset({"INPUT_REFUSED", "RESOURCE_EXHAUSTED", "UNAVAILABLE"})
"""Outcomes of attempts whose inputs a Worker does not count."""
CALLERS_FAULTS: Final = frozenset({"INVALID_ARGUMENT", "CANCELLED", "UNAUTHENTICATED", "PERMISSION_DENIED"})
"""Outcomes that say nothing of a version: the request was wrong, forbidden or given up."""

ATTEMPTS: Final = catalog.ATTEMPT_DURATION.name
INFERENCE: Final = catalog.INFERENCE_DURATION.name
PREDICTIONS: Final = catalog.PREDICTION_COUNT.name
FEEDBACK: Final = catalog.FEEDBACK_COUNT.name
FEEDBACK_ERROR: Final = catalog.FEEDBACK_ERROR.name
FEEDBACK_VALUE: Final = catalog.FEEDBACK_VALUE.name
INPUTS: Final = catalog.INPUT_COUNT.name
ALIKE_INPUTS: Final = catalog.INPUT_ALIKE.name
FORMER_INPUTS: Final = ("crossfade.input.count", "crossfade.input.alike")
"""The same in windows of the releases that did not count inputs by lane."""
LAG: Final = catalog.FEEDBACK_LAG.name
CLASS_LAG: Final = catalog.FEEDBACK_CLASS_LAG.name
LATE: Final = catalog.FEEDBACK_LATE_COUNT.name
DRAWN: Final = catalog.ROUTE_COUNT.name
PAIRS: Final = catalog.SHADOW_PAIR_COUNT.name
NOTED_PAIRS: Final = catalog.SHADOW_NOTED_COUNT.name
PAIRED_LABELS: Final = catalog.SHADOW_LABEL_COUNT.name
ALIKE: Final = catalog.FEEDBACK_ALIKE.name
ALIKE_ANSWERS: Final = catalog.PREDICTION_ALIKE.name
CALLER_ATTEMPTS: Final = catalog.CALLER_ATTEMPT_COUNT.name
CALLER_PREDICTIONS: Final = catalog.CALLER_PREDICTION_COUNT.name
CALLER_FEEDBACK: Final = catalog.CALLER_FEEDBACK_COUNT.name
COHORT_ATTEMPTS: Final = catalog.COHORT_ATTEMPT.name
COHORT_FEEDBACK: Final = catalog.COHORT_FEEDBACK.name
METRICS: Final = (
    ALIKE,
    ALIKE_ANSWERS,
    ALIKE_INPUTS,
    ATTEMPTS,
    CALLER_ATTEMPTS,
    CALLER_FEEDBACK,
    CALLER_PREDICTIONS,
    CLASS_LAG,
    COHORT_ATTEMPTS,
    COHORT_FEEDBACK,
    DRAWN,
    FEEDBACK,
    FEEDBACK_ERROR,
    FEEDBACK_VALUE,
    INFERENCE,
    INPUTS,
    LAG,
    LATE,
    NOTED_PAIRS,
    PAIRED_LABELS,
    PAIRS,
    PREDICTIONS,
)
"""All that a look reads."""

ELSEWHERE: Final = "elsewhere"
"""Attempts of other lanes at the processes that runtimes are compared of, as one count a lane and epoch."""

SAME_INPUTS: Final = "inputs.same"
"""The test arm's inputs by the stable version's profile: as crossfade.lane.input.count or, with a product, as
crossfade.lane.input.alike. They have a name of their own so that windows which older releases recorded have none."""
INPUTS_ELSEWHERE: Final = "elsewhere.inputs"
"""Attempts of other lanes, in windows of the releases that did not count inputs by lane: these are among either arm's.
Nothing counts them any more."""

OWN: Final = "custom"
"""The metric of counts that a policy asks Prometheus for by queries of its own."""
OWN_PROCESS: Final = "promql/"
"""What the names of the processes begin with that stand for their sets of labels."""

SliceKey = tuple[int, int]
"""An epoch and the slice's number in it."""

BalanceRow = tuple[tuple[int, ...], tuple[int, ...]]
"""Predictions by class of the test arm and of the stable arm, by one process."""

RuntimeRow = tuple[int, tuple[int, ...], tuple[int, ...]]
"""A batch size, and the test's and the control's batches by runtime."""
OF_INPUTS: Final = frozenset({INPUTS, ALIKE_INPUTS})
_BY_COHORT: Final = frozenset({COHORT_ATTEMPTS, COHORT_FEEDBACK})
_TESTED: Final = frozenset({LIVE, SHADOW})
"""What the test arm gets: in one step callers' requests, in another copies of them, and never both in one epoch."""


def concerns(one: Series, terms: Terms) -> bool:
    """Whether a series says anything of a rollout, and so is recorded."""
    at = one.values()
    version, traffic = at.get("version"), at.get("traffic")
    if one.metric == DRAWN:
        # It is of the lane and of no version.
        return at.get("segment") == terms.segment
    if "segment" in at and at["segment"] != terms.segment:
        return False
    if (one.metric in _BY_COHORT and not terms.sticky) or (one.metric == ALIKE_ANSWERS and not terms.balances):
        return False
    if version == terms.test and traffic in _TESTED:
        return one.metric not in OF_INPUTS or is_of(terms.test_profile, at)
    if version == terms.stable and traffic in {LIVE, CONTROL}:
        if one.metric == INFERENCE:
            return traffic == CONTROL
        return one.metric not in OF_INPUTS or is_of(terms.stable_profile, at)
    return False


def error_rows(window: Counts, terms: Terms, epoch: int | None) -> list[RateRow]:
    """Attempts and failed ones, a row per process; epoch None: of stable alone, in whatever epoch."""
    rows = []
    for instance in window:
        n_test = x_test = n_stable = x_stable = 0
        for one, at in series_of(instance, ATTEMPTS):
            outcome = at.get("outcome", "")
            if outcome in CALLERS_FAULTS or (epoch is not None and at.get("epoch") != str(epoch)):
                continue
            n = sum(one.counts)
            x = 0 if outcome == OK else n
            if is_test(at, terms) and epoch is not None:
                n_test, x_test = n_test + n, x_test + x
            elif is_stable(at, terms):
                n_stable, x_stable = n_stable + n, x_stable + x
        if n_test or n_stable:
            rows.append((n_test, x_test, n_stable, x_stable))
    return rows


def runtime_rows(window: Counts, terms: Terms) -> list[RuntimeRow]:
    """Batches by runtime, a row per process and batch size; precisions are added up."""
    rows: list[RuntimeRow] = []
    nothing = (0,) * BUCKETS
    for instance in window:
        arms: dict[int, list[tuple[int, ...]]] = {}
        for one, at in series_of(instance, INFERENCE):
            batch = at.get("batch", "")
            if not batch.isdigit() or int(batch) < 1 or len(one.counts) != BUCKETS:
                continue
            pair = arms.setdefault(int(batch), [nothing, nothing])
            if is_test(at, terms):
                pair[0] = one.counts if pair[0] is nothing else added(pair[0], one.counts)
            elif at.get("version") == terms.stable and at.get("traffic") == CONTROL:
                pair[1] = one.counts if pair[1] is nothing else added(pair[1], one.counts)
        rows += [(batch, arms[batch][0], arms[batch][1]) for batch in sorted(arms)]
    return rows


def class_rows(window: Counts, terms: Terms, epoch: int | None) -> list[BalanceRow]:
    """Predictions by class, a row per process; epoch None: of stable alone, in whatever epoch."""
    if not terms.declared:
        return []
    rows: list[BalanceRow] = []
    for instance in window:
        test = stable = (0,) * len(terms.declared)
        for one, at in series_of(instance, PREDICTIONS):
            key = parse_slice(at.get("slice", ""))
            if key is None or (epoch is not None and key[0] != epoch):
                continue
            by_class = one.by_label
            counts = tuple(by_class.get(name, 0) for name in terms.declared)
            if is_test(at, terms) and epoch is not None:
                test = added(test, counts)
            elif is_stable(at, terms):
                stable = added(stable, counts)
        if any(test) or any(stable):
            rows.append((test, stable))
    return rows


def own_series(gate: str, version: str, n: int, x: int) -> Series:
    """Counts of the user's own: n of a version, and the x among them that are bad."""
    return Series(OWN, (("gate", gate), ("traffic", LIVE), ("version", version)), (x, n - x))


def own_rows(window: Counts, terms: Terms, gate: str, *, stable_only: bool) -> list[RateRow]:
    """Counts of the user's own, and the bad ones among them, a row per set of labels."""
    rows = []
    for instance in window:
        arms = {True: (0, 0), False: (0, 0)}
        for one, at in series_of(instance, OWN):
            if at.get("gate") == gate and (is_test(at, terms) or is_stable(at, terms)):
                arms[is_test(at, terms)] = (sum(one.counts), one.counts[0])
        test = (0, 0) if stable_only else arms[True]
        if test[0] or arms[False][0]:
            rows.append((*test, *arms[False]))
    return rows


def drawn(window: Counts, terms: Terms, epoch: int) -> tuple[int, int, int]:
    """Requests of an epoch that were drawn for test, control and stable, all processes together."""
    found = {"test": 0, "control": 0, "stable": 0}
    for instance in window:
        for one, at in series_of(instance, DRAWN):
            if at.get("epoch") == str(epoch) and at.get("segment") == terms.segment and at.get("arm") in found:
                found[at["arm"]] += sum(one.counts)
    return found["test"], found["control"], found["stable"]


def taken(window: Counts, terms: Terms, epoch: int) -> tuple[int, int]:
    """Requests of an epoch whose inputs were counted of the test arm and of the stable one, all processes together."""
    test = stable = 0
    for instance in window:
        for one, at in series_of(instance, ATTEMPTS):
            if at.get("epoch") != str(epoch) or at.get("outcome") in NOT_TAKEN:
                continue
            if is_test(at, terms):
                test += sum(one.counts)
            elif is_stable(at, terms):
                stable += sum(one.counts)
    return test, stable


def copied(window: Counts, terms: Terms) -> tuple[int, int]:
    """Copies that the test version got, and requests that control got, all processes together."""
    sent = originals = 0
    for instance in window:
        for one, at in series_of(instance, ATTEMPTS):
            if is_test(at, terms) and at.get("traffic") == SHADOW:
                sent += sum(one.counts)
            elif is_stable(at, terms) and at.get("traffic") == CONTROL:
                originals += sum(one.counts)
    return sent, originals


def parse_slice(value: str) -> SliceKey | None:
    """Epoch and number of `{epoch}.{number}`; None: it has another form."""
    epoch, _, number = value.partition(".")
    return (int(epoch), int(number)) if epoch.isdigit() and number.isdigit() else None


BUCKETS: Final = len(catalog.INFERENCE_DURATION.bounds) + 1
"""Buckets of crossfade.inference.duration."""


def series_of(instance: InstanceCounts, *metrics: str) -> Iterable[tuple[Series, dict[str, str]]]:
    return ((one, one.values()) for one in instance.series if one.metric in metrics)


def is_test(at: Mapping[str, str], terms: Terms) -> bool:
    return at.get("version") == terms.test and at.get("traffic") in _TESTED


def is_stable(at: Mapping[str, str], terms: Terms) -> bool:
    return at.get("version") == terms.stable and at.get("traffic") in {LIVE, CONTROL}


def is_of(profile: Profile | None, at: Mapping[str, str]) -> bool:
    return profile is not None and at.get("profile") == profile.profile_id


def added(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    """Counts of the same buckets, added up."""
    return tuple(a + b for a, b in zip(one, other, strict=True))
