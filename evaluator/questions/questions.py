"""What people ask the Evaluator: how a rollout would go, and how it would have gone under another policy."""

import asyncio
import difflib
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from evaluator.ports import DeniedError, EndedError, OwnSource, Registry, RolloutView, UnreachableError
from evaluator.questions.aa_test import judge_itself
from evaluator.questions.forecast import StepForecast, forecast
from evaluator.questions.replay import CompactedError, Replayed, UnknownCircumstancesError, replay
from evaluator.questions.traffic import Traffic, is_own
from evaluator.reading_terms import TermsReader
from evaluator.terms import Terms
from evaluator.verdict.decision import Phase
from evaluator.window.readings import Reading
from services.common.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, UnavailableError
from services.common.policy.drafts import PlanDraft, PolicyDraft
from services.common.policy.metrics import LABEL_METRICS, MetricKind
from services.common.policy.records import Gate, Objective, Violation
from services.common.policy.timing import check_times

_Answer = TypeVar("_Answer")
_MOST_SLOWER: Final = 10.0
_READ_SECONDS: Final = 5.0
_MORE_READINGS: Final = 3
_EARLIER_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Other:
    """What to judge by instead of a rollout's own; None: its own."""

    policy: PolicyDraft | None = None
    plan: PlanDraft | None = None
    objective: Objective | None = None
    itself: bool = False
    """Stable is judged against itself."""


@dataclass(frozen=True, slots=True)
class ToCome:
    """A rollout to come.

    Attributes:
        model: the model's id.
        segment: the lane's.
        version: whose classes count; empty: as stable.
        policy: by what it is to be judged.
        plan: its steps.
        objective: what the version must show.
        drops: harms to forecast, by gate.
        watch: seconds for which traffic is watched.
    """

    model: str
    segment: str
    version: str
    policy: PolicyDraft
    plan: PlanDraft
    objective: Objective
    drops: Mapping[str, float]
    watch: float


@dataclass(frozen=True, slots=True)
class Forecasted:
    """What a rollout needs at the traffic seen, or what is wrong with its policy."""

    violations: tuple[Violation, ...] = ()
    stable: str = ""
    traffic: Traffic | None = None
    steps: tuple[StepForecast, ...] = ()


class Questions:
    """Answers people.

    Args:
        registry: where rollouts and their looks are recorded.
        source: where counts come from.
        sleep: lets time pass.
    """

    def __init__(
        self, registry: Registry, source: OwnSource, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._registry = registry
        self._source = source
        self._sleep = sleep
        self._reader = TermsReader(registry)

    async def replay(self, name: str, other: Other) -> tuple[Replayed, tuple[Violation, ...]]:
        """How a rollout would have gone, or what is wrong with the policy to replay it by.

        Args:
            name: `models/{model}/rollouts/{rollout}`.
            other: what to judge by.

        Raises:
            NotFoundError: ROLLOUT_NOT_FOUND.
            FailedPreconditionError: NOT_STARTED, LOOKS_COMPACTED, LOOKS_TOO_OLD.
            UnavailableError: REGISTRY_UNAVAILABLE.
        """
        try:
            return await _asking(self._replay(name, other), "ROLLOUT_NOT_FOUND")
        except CompactedError as error:
            raise FailedPreconditionError(
                "LOOKS_COMPACTED",
                f"the first looks of {name} are not kept any more (the Registry's retention), so that it cannot be "
                "replayed; its outcome still stands in `crossfade explain`",
            ) from error
        except UnknownCircumstancesError as error:
            raise FailedPreconditionError(
                "LOOKS_TOO_OLD", f"an older release recorded looks of {name} without what a replay needs of them"
            ) from error

    async def forecast(self, asked: ToCome) -> Forecasted:
        """What a rollout needs at the traffic that its lane has now.

        Raises:
            InvalidArgumentError: FIELD_INVALID: a harm of a gate that is not there, or out of range.
            NotFoundError: LANE_NOT_FOUND: the model, its lane or the version.
            FailedPreconditionError: NO_STABLE, NO_METRICS.
            UnavailableError: REGISTRY_UNAVAILABLE.
        """
        return await _asking(self._forecast(asked), "LANE_NOT_FOUND")

    async def _replay(self, name: str, other: Other) -> tuple[Replayed, tuple[Violation, ...]]:
        rollout = await self._registry.rollout(name)
        stable = rollout.stable or await self._stable(rollout)
        judged_by = replace(
            rollout,
            policy=other.policy or rollout.policy,
            plan=other.plan or rollout.plan,
            objective=other.objective or rollout.objective,
        )
        found = await self._reader.read(judged_by, stable)
        violations = found.violations
        if other.plan is not None and len(other.plan.steps) != len(rollout.plan.steps):
            said = f"are {len(other.plan.steps)}, and the rollout had {len(rollout.plan.steps) or 1}"
            keeps = "its traffic was split by those, so give as many, or no plan"
            violations = (*violations, Violation("plan.steps", f"{said}: {keeps}"))
        if violations:
            return Replayed(), violations
        concluded = self._registry.concluded(name)
        if other.itself:
            replayed = await judge_itself(found.terms, concluded)
        else:
            replayed = await replay(found.terms, concluded, anew=other.policy is not None)
        if not replayed.looks:
            raise FailedPreconditionError(
                "NOT_STARTED", f"nobody has looked at {name} yet, so that there is nothing to replay: crossfade status"
            )
        return replayed, ()

    async def _stable(self, rollout: RolloutView) -> str:
        """What a rollout that never ran was looked at beside; another version may be stable since."""
        named: set[str] = set()
        async for one in self._registry.concluded(rollout.name):
            # Of processes a window has nothing of third versions.
            processes = (process for process in one.look.window if not is_own(process))
            for version in (series.values().get("version", "") for process in processes for series in process.series):
                if version not in ("", rollout.test):
                    return version
            workers = one.at.workers if one.at is not None else ()
            named |= {served.version for worker in workers for served in worker.served} - {rollout.test}
        lane = await self._registry.lane(rollout.model, rollout.segment)
        # It may have replaced what was never ready. As looks do where nothing is stable yet, it is beside itself.
        stable = (lane.previous if lane.stable == rollout.test else lane.stable) or rollout.test
        # Workers name what is stable, ready or not; and what other lanes have, so that there may be several.
        return named.pop() if stable not in named | {rollout.test} and len(named) == 1 else stable

    async def _forecast(self, asked: ToCome) -> Forecasted:
        lane = await self._registry.lane(asked.model, asked.segment)
        if not lane.stable:
            raise FailedPreconditionError(
                "NO_STABLE", f"{asked.model} has no stable version yet, so that there is no traffic to forecast from"
            )
        found = await self._reader.read(_rollout(asked, asked.version or lane.stable), lane.stable)
        # Such a rollout would not be started; one that is live goes on to its end.
        if violations := found.violations or check_times(found.terms.policy, found.terms.plan):
            return Forecasted(violations)
        _check_drops(asked.drops, found.terms)
        both = await self._reader.read(_rollout(asked, lane.stable), lane.stable)
        traffic = await self._watch(both.terms, asked.watch)
        age = self._source.age(found.terms)
        over = threading.Event()
        try:
            # A model of hundreds of classes takes seconds, in which looks are due and the lease must be renewed.
            steps = await asyncio.to_thread(forecast, found.terms, traffic, asked.drops, age, over.is_set)
        finally:
            # No thread ends because whoever asked has gone.
            over.set()
        return Forecasted((), lane.stable, traffic, steps)

    async def _watch(self, terms: Terms, seconds: float) -> Traffic:
        processes = await self._registry.processes()
        before = await self._source.read(processes, terms, _READ_SECONDS)
        await self._sleep(seconds)
        after = await self._source.read(processes, terms, _READ_SECONDS)
        # A Prometheus server may not have scraped all of them meanwhile.
        for _ in range(_MORE_READINGS):
            if not _behind(before, after):
                break
            await self._sleep(seconds)
            after = await self._source.read(processes, terms, _READ_SECONDS)
        if all(reading.series is None for reading in after):
            why = next((reading.error for reading in after), "no Router and no Worker has a running lease")
            raise FailedPreconditionError("NO_METRICS", f"no process could be read, so that no traffic was seen: {why}")
        # What users count is scraped seldom: how fast it grows shows over a longer time.
        earlier = await self._source.earlier(terms, _EARLIER_SECONDS, _READ_SECONDS)
        processes_before = [one for one in before if not is_own(one)]
        return Traffic.between(terms, [*processes_before, *earlier], after)


async def _asking(answer: Awaitable[_Answer], missing: str) -> _Answer:
    try:
        return await answer
    except EndedError as error:
        raise NotFoundError(missing, str(error)) from error
    except DeniedError as error:
        raise UnavailableError(
            "REGISTRY_UNAVAILABLE",
            f"the Registry refuses this Evaluator, whose certificate takes the role evaluator: {error}",
        ) from error
    except UnreachableError as error:
        raise UnavailableError(
            "REGISTRY_UNAVAILABLE", f"the Registry does not answer; try again when it does: {error}"
        ) from error


def _behind(before: Sequence[Reading], after: Sequence[Reading]) -> bool:
    """Whether some process has been read, and its counts are those of the reading before."""
    read = {one.instance_id: one.read_us for one in before if one.series is not None}
    return any(one.series is not None and one.read_us <= read.get(one.instance_id, 0) for one in after)


def _rollout(asked: ToCome, version: str) -> RolloutView:
    return RolloutView(
        name="",
        model=asked.model,
        segment=asked.segment,
        test=version,
        stable="",
        phase=Phase.WAITING,
        step=0,
        step_start=0.0,
        step_paused=0.0,
        pause_start=0.0,
        sticky=False,
        policy=asked.policy,
        plan=asked.plan,
        sequence=0,
        etag="",
        objective=asked.objective,
    )


def _nearest(name: str, by: float, gates: Mapping[str, Gate]) -> str:
    """What was probably meant: a gate written like it, or for one on labels the policy's own."""
    near = difflib.get_close_matches(name, gates, 1)
    if name in LABEL_METRICS:
        near = [own for own, gate in gates.items() if gate.metric in LABEL_METRICS][:1] or near
    return f"; write {near[0]}={by:g}" if near else ""


def _check_drops(drops: Mapping[str, float], terms: Terms) -> None:
    gates = {gate.name: gate for gate in terms.policy.gates if gate.metric is not MetricKind.INPUT_DRIFT}
    for number, (name, by) in enumerate(drops.items()):
        field = f"harms[{number}]"
        if name not in gates:
            known = ", ".join(gates) or "none"
            raise InvalidArgumentError(
                "FIELD_INVALID",
                f"{field}.gate: the policy has no gate {name!r}, but {known}{_nearest(name, by, gates)}",
                field=f"{field}.gate",
            )
        most = _MOST_SLOWER if gates[name].metric is MetricKind.RUNTIME else 1.0
        if not 0.0 < by < most:
            raise InvalidArgumentError(
                "FIELD_INVALID", f"{field}.by: {by:g} is out of range: above 0, below {most:g}", field=f"{field}.by"
            )
