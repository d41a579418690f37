"""Blocks of rollouts, each with chance of its own: what comes out does not depend on how many processes share them."""

import multiprocessing
import os
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.evaluator_error_rates import rollouts, runtimes
from benchmarks.evaluator_error_rates.behaviour import alike, at_margin
from benchmarks.evaluator_error_rates.gates import bars
from benchmarks.evaluator_error_rates.scenarios import Scenario
from evaluator.statistics.bets import Side
from evaluator.statistics.counts import FloatArray
from services.common.policy.metrics import MetricKind

SEED: Final = 20261125
_RATES_BLOCK: Final = 1_000
_RUNTIME_BLOCK: Final = 100

Group = tuple[str, str]
"""A table and a row of it."""


@dataclass(frozen=True, slots=True)
class Job:
    """One block.

    Attributes:
        group: what its results are gathered under.
        scenario: what happens.
        side: of the tests.
        metrics: gates; runtime alone or others without it.
        rollouts: how many.
        looks: of each.
        number: of the block in its group.
        worse: at the gate's margin; False: versions alike. Of the one metric, which must be the only one then.
        against_stable: as in `runtimes.run`.
    """

    group: Group
    scenario: Scenario
    side: Side
    metrics: tuple[MetricKind, ...]
    rollouts: int
    looks: int
    number: int = 0
    worse: bool = False
    against_stable: bool = False

    def run(self) -> dict[MetricKind, FloatArray]:
        """The greatest ln E of each gate, (rollouts)."""
        name = zlib.crc32("/".join((*self.group, *self.metrics)).encode())
        rng = np.random.default_rng([SEED, name, self.number])
        gate = bars()[self.metrics[0]].gate
        margin = gate.harm if self.side is Side.HARM else gate.safe
        if self.metrics == (MetricKind.RUNTIME,):
            greatest = runtimes.run(
                self.scenario,
                self.side,
                rng,
                self.rollouts,
                self.looks,
                worse=margin.buckets if self.worse else 0,
                against_stable=self.against_stable,
            )
            return {MetricKind.RUNTIME: greatest}
        change = at_margin(gate.metric, margin, rollouts.F1) if self.worse else alike
        return rollouts.Rollouts(self.scenario, self.side, self.metrics, rng, self.rollouts, self.looks, change).run()


def blocks(job: Job) -> list[Job]:
    """The job in blocks that fit a processor's cache."""
    size = _RUNTIME_BLOCK if MetricKind.RUNTIME in job.metrics else _RATES_BLOCK
    made = []
    for number, begin in enumerate(range(0, job.rollouts, size)):
        part = min(size, job.rollouts - begin)
        made.append(
            Job(
                job.group,
                job.scenario,
                job.side,
                job.metrics,
                part,
                job.looks,
                number,
                worse=job.worse,
                against_stable=job.against_stable,
            )
        )
    return made


Results = dict[Group, dict[MetricKind, FloatArray]]


def run_all(jobs: Sequence[Job], processes: int, say: Callable[[str], None]) -> Results:
    """All jobs in all blocks, the results put together in their order."""
    parts = [block for job in jobs for block in blocks(job)]
    found: Results = {}
    for done, (part, result) in enumerate(zip(parts, spread(_run, parts, processes), strict=True), start=1):
        gathered = found.setdefault(part.group, {})
        for metric, log_e in result.items():
            gathered[metric] = np.append(gathered.get(metric, np.zeros(0)), log_e)
        if done == len(parts) or parts[done].group != part.group:
            say(f"{' / '.join(part.group)}")
    return found


def spread(work: Callable[..., object], parts: Iterable[object], processes: int) -> Iterable:  # type: ignore[type-arg] # of what work gives
    """work(part) for each part, in order, by several processes."""
    if processes <= 1:
        yield from map(work, parts)
        return
    # glibc gives large arrays back to the system after each use otherwise, which takes as long as the arithmetic.
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"):
        os.environ.setdefault(name, str(2**30))
    os.environ.setdefault("MALLOC_TOP_PAD_", str(2**26))
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap(work, parts)


def _run(job: Job) -> dict[MetricKind, FloatArray]:
    return job.run()
