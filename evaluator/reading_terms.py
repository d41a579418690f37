"""What a rollout is judged by, read from the Registry: the versions' meanings and profiles, the policy, the plan."""

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Final

from evaluator.ports import Registry, RolloutView, VersionView
from evaluator.terms import Terms
from services.common.policy.defaults import check_together, complete_plan, complete_policy
from services.common.policy.records import Objective, Violation

_MOST_VERSIONS: Final = 1_000


@dataclass(frozen=True, slots=True)
class FoundTerms:
    """What a rollout is judged by, and what is wrong with it: then it cannot be judged."""

    terms: Terms
    violations: tuple[Violation, ...]


class TermsReader:
    """Reads terms; versions never change, and are remembered.

    Args:
        registry: where they stand.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._versions: OrderedDict[tuple[str, str], VersionView] = OrderedDict()

    async def read(self, rollout: RolloutView, stable: str) -> FoundTerms:
        """The terms of a rollout.

        Args:
            rollout: with the policy and the plan to judge by.
            stable: the version that the test version is compared with.

        Raises:
            EndedError: a version is not there.
            UnreachableError: the Registry is away.
        """
        test_view = await self.version(rollout.model, rollout.test)
        stable_view = await self.version(rollout.model, stable)
        objective = rollout.objective or Objective.NON_INFERIOR
        meaning = replace(test_view.meaning, stable_classes=len(stable_view.meaning.classes or ()))
        policy, _ = complete_policy(rollout.policy, meaning, objective, sticky=rollout.sticky)
        # A gate that nobody can judge by key is watched: older releases took policies that require one.
        _, policy_violations = complete_policy(rollout.policy, meaning, objective)
        plan, plan_violations = complete_plan(rollout.plan, objective)
        violations = (*policy_violations, *plan_violations, *check_together(policy, plan))
        unknown = (*rollout.unknown, *(("objective",) if rollout.objective is None else ()))
        if unknown:
            # Whatever else is wrong follows from it.
            violations = tuple(Violation(field, "this release of the Evaluator does not know it") for field in unknown)
        terms = Terms(
            model=rollout.model,
            segment=rollout.segment,
            test=rollout.test,
            stable=stable,
            policy=policy,
            plan=plan,
            sticky=rollout.sticky,
            test_profile=test_view.profile or stable_view.profile,
            stable_profile=stable_view.profile,
            declared=test_view.meaning.classes or (),
        )
        return FoundTerms(terms, violations)

    async def version(self, model: str, version: str) -> VersionView:
        """One version. Raises as `read`."""
        key = (model, version)
        if key not in self._versions:
            self._versions[key] = await self._registry.version(model, version)
            while len(self._versions) > _MOST_VERSIONS:
                self._versions.popitem(last=False)
        return self._versions[key]
