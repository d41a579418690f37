"""All effects, each in a process and with chance of its own."""

import zlib
from collections.abc import Callable
from typing import Final

import numpy as np

from benchmarks.evaluator_error_rates import effects, other_effects, pooled, slow_effects
from benchmarks.evaluator_error_rates.effects import Found
from benchmarks.evaluator_error_rates.jobs import SEED, spread

Task = tuple[str, int, int]
"""An effect's name, rollouts and looks."""

_FEWER_FOR_RUNTIME: Final = 8
_FEWER_FOR_DRIFT: Final = 10
SAFETY: Final = "alike: passes"


def names() -> list[str]:
    """Every effect."""
    by_rate = [effect.name for effect in effects.rate_effects()]
    by_runtime = [effect.name for effect in slow_effects.EFFECTS]
    return [*by_rate, *by_runtime, "one of ten classes lost", "one of 20 features shifted", SAFETY, pooled.NAME]


def measure(
    asked: str, rollouts: int, looks: int, processes: int, say: Callable[[str], None]
) -> dict[str, list[Found]]:
    """What each way of judging makes of each effect whose name holds `asked`."""
    tasks = [(name, rollouts, looks) for name in names() if asked in name]
    found: dict[str, list[Found]] = {}
    for (name, _, _), one in zip(tasks, spread(_judge, tasks, processes), strict=True):
        found[name] = one
        say(name)
    return found


def _judge(task: Task) -> list[Found]:
    name, rollouts, looks = task
    rng = np.random.default_rng([SEED, zlib.crc32(name.encode())])
    fewer = max(rollouts // _FEWER_FOR_RUNTIME, 1)
    by_rate = {effect.name: effect for effect in effects.rate_effects()}
    by_runtime = {effect.name: effect for effect in slow_effects.EFFECTS}
    if name in by_rate:
        return effects.judge_rates(rng, by_rate[name], rollouts, looks)
    if name in by_runtime:
        return slow_effects.judge(rng, by_runtime[name], fewer, looks)
    if name == SAFETY:
        safe = [effects.judge_safety(rng, effect, rollouts, looks) for effect in by_rate.values()]
        return [*safe, slow_effects.judge_safety(rng, fewer, looks)]
    if name == pooled.NAME:
        return pooled.judge(rng, effects.rate_effects()[0], rollouts, looks)
    if "classes" in name:
        return other_effects.judge_lost_class(rng, fewer, looks)
    return other_effects.judge_drift(rng, max(rollouts // _FEWER_FOR_DRIFT, 1), looks)
