"""`python -m benchmarks.evaluator_error_rates`: simulates, prints tables, and one JSON object as the last line."""

import argparse
import json
import math
import os
import time
from collections.abc import Sequence
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import beta

from benchmarks.evaluator_error_rates import detection, keys, look_cost, plans, same_inputs, scenarios, winners
from benchmarks.evaluator_error_rates.checks import every
from benchmarks.evaluator_error_rates.effects import Found
from benchmarks.evaluator_error_rates.gates import METRICS, RATE_METRICS, bars, policy, safe_bar
from benchmarks.evaluator_error_rates.jobs import SEED, Results, run_all
from benchmarks.evaluator_error_rates.judges import BoolArray
from benchmarks.evaluator_error_rates.keys import Outcome
from benchmarks.evaluator_error_rates.plans import Size
from evaluator.statistics import sample_ratio
from evaluator.statistics.counts import FloatArray
from evaluator.statistics.process import log_threshold
from services.common.policy.metrics import MetricKind

_QUICK: Final = Size(rollouts=200, looks=60)
_PARTS: Final = ("oracle", "look", "detection", "errors", "keys", "inputs", "winners")
_CONSOLE: Final = Console(width=160)


def main(arguments: Sequence[str] | None = ()) -> None:
    """Measures and prints. Without arguments: the whole of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluator_error_rates", description=__doc__)
    parser.add_argument("--rollouts", type=int, help="of each scenario (10,000)")
    parser.add_argument("--looks", type=int, help="of each rollout (720)")
    parser.add_argument("--quick", action="store_true", help="200 rollouts of 60 looks: what it prints, not how much")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--part", choices=_PARTS, action="append", help="one of all parts; may be given again")
    parser.add_argument("--effect", default="", help="of detection, effects whose names hold this")
    asked = parser.parse_args(arguments)
    usual = _QUICK if asked.quick else Size()
    size = Size(asked.rollouts or usual.rollouts, asked.looks or usual.looks)
    began = time.perf_counter()
    _CONSOLE.print(f"seed {SEED}, {size.rollouts:,} rollouts of {size.looks} looks, {asked.processes} processes")

    def say(what: str) -> None:
        _CONSOLE.print(f"{time.perf_counter() - began:6.0f} s  {what}", style="dim")

    figures: dict[str, object] = {"seed": SEED, "rollouts": size.counts(), "looks": size.looks}
    parts = asked.part or _PARTS
    if "oracle" in parts:
        figures |= _show_oracle(1 if asked.quick else 60)
    if "look" in parts:
        figures |= _show_look_cost(10 if asked.quick else 1_000)
    if "detection" in parts:
        found = detection.measure(asked.effect, size.of_detection, size.looks, asked.processes, say)
        figures |= _show_detection(found, size.looks)
    if "errors" in parts:
        figures |= _show_errors(run_all(plans.error_jobs(size), asked.processes, say))
    if "keys" in parts:
        figures |= _show_keys(keys.measure(size.by_key, asked.processes, say))
    if "inputs" in parts:
        figures |= _show_inputs(same_inputs.measure(size.of_inputs, size.looks, asked.processes, say))
    if "winners" in parts:
        figures |= _show_winners(winners.measure(size.of_winners, size.looks, asked.processes, say))
    figures["seconds"] = round(time.perf_counter() - began)
    print(json.dumps(figures))


def _show_oracle(cases: int) -> dict[str, object]:
    table = Table("tests", "looks", "ln E differs from the oracle's by at most", "nulls, every outcome", "E at most")
    found = every.check(SEED, cases)
    for one in found:
        table.add_row(
            one.kind, f"{one.compared:,}", f"{one.difference:.1e}", str(one.enumerated), f"{one.expectation:.12f}"
        )
    _CONSOLE.print(table)
    return {
        "oracle_greatest_difference": max(one.difference for one in found),
        "oracle_expectation": round(max(one.expectation for one in found), 9),
    }


def _show_look_cost(rollouts: int) -> dict[str, object]:
    cost = look_cost.measure(SEED, rollouts)
    _CONSOLE.print(f"a look over {rollouts:,} rollouts, 10 gates, 20 features: {cost.milliseconds:,.0f} ms of one core")
    table = Table("where the time goes", "share")
    for name, share in cost.where:
        table.add_row(name, f"{share:.0%}")
    _CONSOLE.print(table)
    return {"look_ms": round(cost.milliseconds), "look_rollouts": rollouts}


def _show_detection(found: dict[str, list[Found]], looks: int) -> dict[str, object]:
    table = Table("effect", "way", "bound", "mean test requests", "x bound", "found", "false alarms")
    ratios: dict[str, dict[str, float]] = {}
    alarms: dict[str, dict[str, float]] = {}
    for effect, ways in found.items():
        for one in ways:
            requests, bound = one.requests(looks), one.bound
            ratio = requests / bound if bound and one.detected == 1.0 else math.nan
            table.add_row(
                effect,
                one.way,
                f"{bound:,.0f}" if bound else "–",
                f"{requests:,.0f}" if one.detected else "–",
                "–" if math.isnan(ratio) else f"{ratio:.2f}",
                f"{one.detected:.1%}" if one.detected else "–",
                f"{one.alarms:.2%}",
            )
            if not math.isnan(ratio):
                ratios.setdefault(effect, {})[one.way] = round(ratio, 2)
            alarms.setdefault(effect, {})[one.way] = round(one.alarms, 4)
    _CONSOLE.print(table)
    return {"detection_ratio": ratios, "false_alarms": alarms}


def _show_errors(found: Results) -> dict[str, object]:
    names = [bars()[metric].gate.name for metric in METRICS]
    table = Table("wrong rollbacks of versions alike", *names, "any of 8", "at most (98 %)")
    worst = 0.0
    for scenario in plans.ALIKE:
        rates = found[plans.WRONG_ROLLBACK, plans.rates_of(scenario.name)]
        slow = found[plans.WRONG_ROLLBACK, plans.runtimes_of(scenario.name)][MetricKind.RUNTIME]
        of_rates = _any({metric: rates[metric] for metric in RATE_METRICS})
        of_runtime = slow >= bars()[MetricKind.RUNTIME].harm
        # Chance of runtimes and of rates is drawn apart, so that their shares add up.
        any_gate = float(of_rates.mean() + of_runtime.mean())
        worst = max(worst, any_gate)
        by_gate = rates | {MetricKind.RUNTIME: slow}
        table.add_row(
            scenario.name, *_shares(by_gate), f"{any_gate:.3%}", f"{_upper(of_rates) + _upper(of_runtime):.3%}"
        )
    edge = found[plans.AT_EDGE, scenarios.INCIDENTS.name]
    at_edge = {metric: float((log_e >= bars()[metric].harm).mean()) for metric, log_e in edge.items()}
    table.add_row("each gate at its margin of harm", *_shares(edge), f"{sum(at_edge.values()):.3%} (sum)", "")
    sticky = found[plans.STICKY, plans.STICKY]
    would = float(_any(sticky).mean())
    table.add_row("by key: what these tests would have done", *_shares(sticky), f"{would:.1%}", "")
    _CONSOLE.print(table)
    warm = found[plans.WARM, plans.WARM][MetricKind.RUNTIME] >= bars()[MetricKind.RUNTIME].harm
    _CONSOLE.print(f"a cold process of a version alike against stable's warm one: {warm.mean():.0%} rolled back")
    promotions = Table("wrong promotions at the safe margin", *names)
    worst_promotion = 0.0
    for (table_name, scenario_name), by_metric in found.items():
        if table_name == plans.WRONG_PROMOTION:
            passed = {metric: float((log_e >= safe_bar()).mean()) for metric, log_e in by_metric.items()}
            worst_promotion = max(worst_promotion, *passed.values())
            promotions.add_row(
                scenario_name, *(f"{passed[metric]:.2%}" if metric in passed else "–" for metric in METRICS)
            )
    _CONSOLE.print(promotions)
    return {
        "false_rollback": round(worst, 5),
        "false_rollback_at_edge": round(sum(at_edge.values()), 5),
        "false_promotion": round(worst_promotion, 4),
        "sticky_would_roll_back": round(would, 4),
        "cold_against_stable": round(float(warm.mean()), 3),
        "alpha": policy().alpha_rollback,
    }


def _show_keys(found: list[Outcome]) -> dict[str, object]:
    table = Table("by key", "gate", "who comes, and the test version's share", "rolled back", "after", "passed")
    worst: dict[tuple[str, MetricKind], float] = {}
    for one in found:
        case = one.case
        after = "–" if math.isnan(one.part) else f"{one.part:.0%} of the period"
        table.add_row(case.kind, case.metric, case.at, f"{one.rolled_back:.2%}", after, f"{one.passed:.2%}")
        share = one.passed if case.kind == keys.SAFE_EDGE else one.rolled_back
        worst[case.kind, case.metric] = max(share, worst.get((case.kind, case.metric), 0.0))
    _CONSOLE.print(table)
    return {
        "by_key_false_rollback": round(sum(share for (kind, _), share in worst.items() if kind == keys.ALIKE), 5),
        "by_key_false_rollback_of_broken": round(worst[keys.BROKEN, MetricKind.ERRORS], 5),
        "by_key_false_promotion": round(max(share for (kind, _), share in worst.items() if kind == keys.SAFE_EDGE), 4),
    }


def _show_inputs(found: dict[str, FloatArray]) -> dict[str, object]:
    table = Table("inputs of both arms, 20 features", "taken for others", "greatest ln E", "bar")
    bar = log_threshold(sample_ratio.ALPHA)
    for scenario, greatest in found.items():
        table.add_row(scenario, f"{(greatest >= bar).mean():.2%}", f"{greatest.max():.1f}", f"{bar:.1f}")
    _CONSOLE.print(table)
    shares = {scenario: round(float((greatest >= bar).mean()), 5) for scenario, greatest in found.items()}
    moved = shares.pop(same_inputs.MOVED)
    return {"same_inputs_false_alarms": max(shares.values()), "same_inputs_moved_found": moved}


def _show_winners(found: list[winners.Outcome]) -> dict[str, object]:
    table = Table("A/B tests", "way", "won", "mean test requests")
    requests: dict[str, dict[str, int]] = {}
    wrong: dict[str, dict[str, float]] = {}
    won: dict[str, float] = {}
    for one in found:
        case = one.case
        table.add_row(case.name, one.way, f"{one.won:.1%}", "–" if case.wrong else f"{one.requests:,.0f}")
        if case.wrong:
            wrong.setdefault(case.name, {})[one.way] = round(one.won, 4)
        else:
            requests.setdefault(case.name, {})[one.way] = round(one.requests)
        if case in winners.AFTER_INCIDENT:
            won[case.name] = round(one.won, 4)
    _CONSOLE.print(table)
    return {"winners_requests": requests, "winners_wrong": wrong, "winners_after_incidents": won}


def _any(greatest: dict[MetricKind, FloatArray]) -> BoolArray:
    found: BoolArray = np.any([log_e >= bars()[metric].harm for metric, log_e in greatest.items()], axis=0)
    return found


def _shares(greatest: dict[MetricKind, FloatArray]) -> list[str]:
    return [
        f"{(greatest[metric] >= bars()[metric].harm).mean():.3%}" if metric in greatest else "–" for metric in METRICS
    ]


def _upper(crossed: BoolArray) -> float:
    """Clopper and Pearson's bound at 99 %."""
    count, total = int(crossed.sum()), len(crossed)
    return float(beta.ppf(0.99, count + 1, total - count)) if count < total else 1.0
