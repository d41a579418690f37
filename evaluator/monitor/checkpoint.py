"""A watch as bytes and back: what the Registry keeps between two looks.

JSON, with every float as Python writes it, so that what is read is what was written to the last bit. Evidence of other
statistics than this release's is not taken over; the past that was learnt is.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from evaluator.evidence.alike import Alike, Sums
from evaluator.evidence.inputs import AlikeBins, ArmInputs
from evaluator.evidence.lateness import NO_LAGS, Lateness
from evaluator.evidence.ledger import NOTHING, Ledger
from evaluator.monitor.learnt import dump_labels, dump_learnt, load_labels, load_learnt
from evaluator.monitor.outputs import answers_profile, answers_tolerances
from evaluator.monitor.past import Known
from evaluator.monitor.values import values_profile, values_tolerance
from evaluator.monitor.watch import Watch, open_watch
from evaluator.monitor.watched import Watched
from evaluator.statistics.counts import FloatArray, frozen
from evaluator.statistics.means import MeanTest
from evaluator.statistics.process import EProcess
from evaluator.statistics.rates import RateTest
from evaluator.terms import STATISTICS_VERSION, Terms
from evaluator.window.arms import SliceKey
from evaluator.window.labels import SliceCounts
from services.common.policy.metrics import MetricKind

FORMAT: Final = 1


def dump(watch: Watch) -> bytes:
    """The watch as bytes."""
    said = {
        "format": FORMAT,
        "statistics": STATISTICS_VERSION,
        "since": watch.since,
        "time": watch.time,
        "leapt": watch.leapt,
        "slices": list(watch.slices.items()),
        "ledger": [[*key, *_counts(counts)] for key, counts in watch.ledger.slices.items()],
        "fed": [[*key, since] for key, since in watch.ledger.fed.items() if since > 0.0],
        "taken": [[*key, dump_labels(pair[0])] for key, pair in watch.ledger.aged_taken.items()],
        **_lateness(watch.lateness),
        "alike": [watch.alike.test.rows, watch.alike.test.wrong, watch.alike.test.squares],
        **dump_learnt(watch),
        "watched": [_watched(one) for one in watch.watched],
        "inputs": None if watch.inputs is None else _arm(watch.inputs),
        "outputs": None if watch.outputs is None else _arm(watch.outputs),
        "values": None if watch.values is None else _arm(watch.values),
    }
    return json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode()


def load(payload: bytes, terms: Terms, learn: float) -> Watch:
    """The watch of bytes; a fresh one of none.

    What is of another shape inside may show only when a look is added to it.

    Args:
        payload: what `dump` gave, or nothing.
        terms: of the version that they are of.
        learn: seconds for which the past is to be learnt.

    Raises:
        Exception: they are none of this form.
    """
    fresh = open_watch(terms, learn)
    if not payload:
        return fresh
    said: Any = json.loads(payload, parse_constant=_infinity)
    if said["format"] != FORMAT:
        raise ValueError(f"it is of format {said['format']}, and this release reads {FORMAT}")
    return _load(said, fresh)


def _infinity(constant: str) -> float:
    """Wealth that was lost is one. With a number that is none nothing would ever stand out."""
    if constant == "NaN":
        raise ValueError("it has a number that is none (NaN)")
    return float(constant)


def _load(said: Any, fresh: Watch) -> Watch:
    terms = fresh.terms
    past, swings, value_swings, peaks = load_learnt(said)
    watch = replace(
        fresh,
        since=said["since"],
        time=said["time"],
        # Releases before this one wrote neither this nor since when a slice's latest predictions may be.
        leapt=said.get("leapt", 0.0),
        slices=dict(said["slices"]),
        ledger=_ledger(said["ledger"], said["taken"], said.get("fed", ())),
        lateness=_lateness_of(said),
        alike=_alike_of(said.get("alike")),
        past=past,
        swings=swings,
        value_swings=value_swings,
        peaks=peaks,
    )
    same = said["statistics"] == STATISTICS_VERSION
    # A release after this one may have watched more.
    judged = {gate.metric.value for gate in terms.policy.gates}
    found = (one for one in said["watched"] if one["metric"] in judged)
    # Of all sizes in one, as above.
    found = (one for one in found if one["metric"] != MetricKind.RUNTIME.value or one.get("size"))
    watched = tuple(_watched_of(one, terms, same=same) for one in found)
    inputs, outputs = watch.inputs, None
    if said["outputs"] is not None:
        profile = answers_profile(watch.past.answers, watch.past.together)
        outputs = ArmInputs.open(profile, answers_tolerances(watch.past.answers, watch.swings))
        outputs = _arm_of(outputs, said["outputs"]) if same else outputs
    values = None
    if said.get("values") is not None:
        profile = values_profile(watch.past.values)
        values = ArmInputs.open(profile, values_tolerance(watch.past.values, watch.value_swings))
        values = _arm_of(values, said["values"]) if same else values
    if inputs is not None and said["inputs"] is not None and same:
        inputs = _arm_of(inputs, said["inputs"])
    return replace(watch, watched=watched, inputs=inputs, outputs=outputs, values=values)


def _lateness(lateness: Lateness) -> dict[str, Any]:
    return {
        "lags": [lateness.answers.get((True, wrong), NO_LAGS) for wrong in (False, True)],
        "class_lags": {name: lags for (_, name), lags in lateness.classes.items()},
    }


def _lateness_of(said: Any) -> Lateness:
    right, wrong = (_sized(lags, len(NO_LAGS)) for lags in said["lags"])
    # Releases before this one did not count them.
    classes = {(True, name): _sized(lags, len(NO_LAGS)) for name, lags in said.get("class_lags", {}).items()}
    return Lateness({(True, False): right, (True, True): wrong}, classes)


def _alike_of(said: Any) -> Alike:
    """Releases before this one wrote none."""
    if said is None:
        return Alike()
    rows, wrong, squares = said
    return Alike(Sums(rows, wrong, tuple(squares)))


def _counts(counts: SliceCounts) -> list[Any]:
    return [counts.test_predictions, dump_labels(counts.test)]


def _sized(counts: Sequence[int], size: int) -> tuple[int, ...]:
    """Counts by the buckets of this release.

    Raises:
        ValueError: they are by others, so that no look could be added to them.
    """
    if len(counts) != size:
        raise ValueError(f"{len(counts)} buckets are not the {size} of this release")
    return tuple(counts)


def _ledger(slices: Any, taken: Any, fed: Any) -> Ledger:
    known: dict[SliceKey, SliceCounts] = {
        (epoch, number): SliceCounts(test_predictions=predictions, test=load_labels(labels))
        for epoch, number, predictions, labels in slices
    }
    pairs = {(epoch, number): (load_labels(labels), NOTHING[1]) for epoch, number, labels in taken}
    return Ledger(slices=known, aged_taken=pairs, fed={(epoch, number): since for epoch, number, since in fed})


def _watched(one: Watched) -> dict[str, Any]:
    return {
        "metric": one.metric.value,
        "size": one.size,
        "past": [one.past.n, one.past.value, one.past.limit, *([one.past.cut] if one.past.cut else [])],
        "peak": one.past.peak,
        "alert": one.alert,
        "recent": one.recent,
        "harm": _process(one.harm.process),
        "safe": _process(one.safe.process),
    }


def _watched_of(said: Any, terms: Terms, *, same: bool) -> Watched:
    metric = MetricKind(said["metric"])
    alpha = next(terms.policy.gate_alpha(gate) for gate in terms.policy.gates if gate.metric is metric)
    # Releases before this one knew of no peaks.
    past = replace(Known(*said["past"]), peak=said.get("peak", 0.0))
    one = Watched.open(metric, alpha, past, said.get("size", 0))
    if not same:
        return one
    recent = tuple((n, value) for n, value in said["recent"])
    harm, safe = _with(one.harm, said["harm"]), _with(one.safe, said["safe"])
    return replace(one, harm=harm, safe=safe, recent=recent, alert=said["alert"])


def _with(test: RateTest | MeanTest, said: Any) -> RateTest | MeanTest:
    return replace(test, process=_process_of(test.process, said))


def _process(process: EProcess) -> list[Any]:
    return [process.log_wealth.tolist(), process.looks, float(process.log_e), float(process.max_log_e)]


def _process_of(process: EProcess, said: Any) -> EProcess:
    wealth, looks, log_e, max_log_e = said
    return replace(
        process,
        log_wealth=frozen(wealth),
        looks=looks,
        log_e=frozen(np.array(log_e)),
        max_log_e=frozen(np.array(max_log_e)),
    )


def _arm(arm: ArmInputs) -> dict[str, Any]:
    test, many = arm.test, arm.alike.own.any()
    return {
        "drifted": test.drifted,
        "alarms": test.alarms,
        "looks": test.looks,
        "log_e": test.log_e,
        "log_wealth": test.log_wealth.tolist(),
        "counts": arm.counts.tolist(),
        "alike": [arm.alike.up_to.tolist(), *([arm.alike.own.tolist(), arm.alike.every.tolist()] if many else [])],
    }


def _arm_of(arm: ArmInputs, said: Any) -> ArmInputs:
    test = replace(
        arm.test,
        drifted=said["drifted"],
        alarms=said["alarms"],
        looks=said["looks"],
        log_e=said["log_e"],
        log_wealth=frozen(said["log_wealth"]),
    )
    counts = frozen(said["counts"])
    return replace(arm, test=test, counts=counts, alike=_alike_bins(said.get("alike"), counts))


def _alike_bins(said: Any, counts: FloatArray) -> AlikeBins:
    """What releases before this one wrote knows the present phase's rows, and none of their requests."""
    zeros = frozen(np.zeros_like(counts))
    if said is None:
        return AlikeBins(frozen(counts.cumsum(axis=-1)), zeros, zeros)
    up_to, *products = (frozen(table) for table in said)
    own, every = products or (zeros, zeros)
    return AlikeBins(up_to, own, every)
