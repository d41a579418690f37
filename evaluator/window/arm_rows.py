"""What a window says of each arm: the rows that the gates' tests take, each from one process."""

from collections.abc import Mapping

from evaluator.window.arm_counts import ArmCounts, ProcessSeries
from evaluator.window.arms import (
    ATTEMPTS,
    BUCKETS,
    CALLERS_FAULTS,
    CONTROL,
    DRAWN,
    INFERENCE,
    LIVE,
    NOT_TAKEN,
    OK,
    OWN,
    PREDICTIONS,
    REDUCED,
    SHADOW,
    BalanceRow,
    RuntimeRow,
    added,
    parse_slice,
)
from evaluator.window.counts import Series
from evaluator.window.labels import RateRow
from evaluator.window.splits import whole
from services.common.telemetry import catalog


def error_rows(counted: ArmCounts, epoch: int | None) -> list[RateRow]:
    """Attempts and failed ones, a row per process; epoch None: of stable alone, in whatever epoch."""
    rows = (_errors(process, epoch) for process in counted.processes)
    return [row for row in rows if row[0] or row[2]]


def with_kept_back(counted: ArmCounts, epoch: int | None) -> list[RateRow]:
    """As `error_rows`, with the requests that Routers' breakers kept from the test version, as their probes tell.

    A breaker lets every hundredth request through while it is open, so that each such attempt stands for a hundred, but
    for no more than were drawn for the test arm and did not come to it: where looks are short it is rather too little.
    (By key no draws are counted.)
    """
    rows = []
    for process in counted.processes:
        n_test, x_test, n_stable, x_stable = _errors(process, epoch)
        n, failed = (0, 0) if epoch is None else _probes(process, counted.terms.test, epoch)
        if n:
            requests = _drawn(process, counted.terms.segment, str(epoch))["test"]
            kept = round(n / catalog.PROBED)
            kept = min(kept, max(requests - n_test, n)) if requests else kept
            n_test, x_test = n_test + kept, x_test + round(kept * failed / n)
        if n_test or n_stable:
            rows.append((n_test, x_test, n_stable, x_stable))
    return rows


def is_kept_back(counted: ArmCounts, epoch: int | None) -> bool:
    """Whether Routers' breakers kept anything from the test version, as far as probes tell."""
    return epoch is not None and any(_probes(one, counted.terms.test, epoch)[0] for one in counted.processes)


def _errors(process: ProcessSeries, epoch: int | None) -> RateRow:
    n_test = x_test = n_stable = x_stable = 0
    for one, at, is_test, is_stable in process.of(ATTEMPTS):
        if not _speaks(at, epoch):
            continue
        n = sum(one.counts)
        x = 0 if at.get("outcome") == OK else n
        if is_test and epoch is not None:
            n_test, x_test = n_test + n, x_test + x
        elif is_stable:
            n_stable, x_stable = n_stable + n, x_stable + x
    return n_test, x_test, n_stable, x_stable


def _speaks(at: Mapping[str, str], epoch: int | None) -> bool:
    """Whether attempts are of the epoch, and say anything of a version; epoch None: of any."""
    return at.get("outcome", "") not in CALLERS_FAULTS and (epoch is None or at.get("epoch") == str(epoch))


def _probes(process: ProcessSeries, version: str, epoch: int) -> tuple[int, int]:
    """Attempts that open breakers let through to the test version, and those of them that failed."""
    n = failed = 0
    for one, at, _, _ in process.of(ATTEMPTS):
        if at.get("traffic") == REDUCED and at.get("version") == version and _speaks(at, epoch):
            n += sum(one.counts)
            failed += 0 if at.get("outcome") == OK else sum(one.counts)
    return n, failed


def runtime_rows(counted: ArmCounts) -> list[RuntimeRow]:
    """Batches by runtime, a row per process and batch size; precisions are added up."""
    rows: list[RuntimeRow] = []
    nothing = (0,) * BUCKETS
    for process in counted.processes:
        arms: dict[int, list[tuple[int, ...]]] = {}
        for one, at, is_test, _ in process.of(INFERENCE):
            batch = whole(at.get("batch", ""))
            if not batch or len(one.counts) != BUCKETS:
                continue
            pair = arms.setdefault(batch, [nothing, nothing])
            if is_test:
                pair[0] = one.counts if pair[0] is nothing else added(pair[0], one.counts)
            elif at.get("version") == counted.terms.stable and at.get("traffic") == CONTROL:
                pair[1] = one.counts if pair[1] is nothing else added(pair[1], one.counts)
        rows += [(batch, arms[batch][0], arms[batch][1]) for batch in sorted(arms)]
    return rows


def class_rows(counted: ArmCounts, epoch: int | None) -> list[BalanceRow]:
    """Predictions by class, a row per process; epoch None: of stable alone, in whatever epoch."""
    declared = counted.terms.declared
    if not declared:
        return []
    rows: list[BalanceRow] = []
    for process in counted.processes:
        test = stable = (0,) * len(declared)
        for one, at, is_test, is_stable in process.of(PREDICTIONS):
            key = parse_slice(at.get("slice", ""))
            if key is None or (epoch is not None and key[0] != epoch):
                continue
            by_class = one.by_label
            counts = tuple(by_class.get(name, 0) for name in declared)
            if is_test and epoch is not None:
                test = added(test, counts)
            elif is_stable:
                stable = added(stable, counts)
        if any(test) or any(stable):
            rows.append((test, stable))
    return rows


def own_series(gate: str, version: str, n: int, x: int) -> Series:
    """Counts of the user's own: n of a version, and the x among them that are bad."""
    return Series(OWN, (("gate", gate), ("traffic", LIVE), ("version", version)), (x, n - x))


def own_rows(counted: ArmCounts, gate: str, *, stable_only: bool) -> list[RateRow]:
    """Counts of the user's own, and the bad ones among them, a row per set of labels."""
    rows = []
    for process in counted.processes:
        arms = {True: (0, 0), False: (0, 0)}
        for one, at, is_test, is_stable in process.of(OWN):
            if at.get("gate") == gate and (is_test or is_stable):
                arms[is_test] = (sum(one.counts), one.counts[0])
        test = (0, 0) if stable_only else arms[True]
        if test[0] or arms[False][0]:
            rows.append((*test, *arms[False]))
    return rows


def drawn(counted: ArmCounts, epoch: int) -> tuple[int, int, int]:
    """Requests of an epoch that were drawn for test, control and stable, all processes together."""
    found = [_drawn(process, counted.terms.segment, str(epoch)) for process in counted.processes]
    test, control, stable = (sum(one[arm] for one in found) for arm in ("test", "control", "stable"))
    return test, control, stable


def _drawn(process: ProcessSeries, segment: str, epoch: str) -> dict[str, int]:
    found = {"test": 0, "control": 0, "stable": 0}
    for one, at, _, _ in process.of(DRAWN):
        if at.get("epoch") == epoch and at.get("segment") == segment and at.get("arm") in found:
            found[at["arm"]] += sum(one.counts)
    return found


def taken(counted: ArmCounts, epoch: int) -> tuple[int, int]:
    """Requests of an epoch whose inputs were counted of the test arm and of the stable one, all processes together."""
    test = stable = 0
    for process in counted.processes:
        for one, at, is_test, is_stable in process.of(ATTEMPTS):
            if at.get("epoch") != str(epoch) or at.get("outcome") in NOT_TAKEN:
                continue
            if is_test:
                test += sum(one.counts)
            elif is_stable:
                stable += sum(one.counts)
    return test, stable


def copied(counted: ArmCounts) -> tuple[int, int]:
    """Copies that the test version got, and requests that control got, all processes together."""
    sent = originals = 0
    for process in counted.processes:
        for one, at, is_test, is_stable in process.of(ATTEMPTS):
            if is_test and at.get("traffic") == SHADOW:
                sent += sum(one.counts)
            elif is_stable and at.get("traffic") == CONTROL:
                originals += sum(one.counts)
    return sent, originals
