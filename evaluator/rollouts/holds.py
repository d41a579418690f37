"""Why the metrics that a look got allow no conclusion in the version's favour."""

from collections.abc import Sequence

from evaluator import words
from evaluator.ports import ProcessView
from evaluator.window.arms import OWN_PROCESS
from evaluator.window.readings import Problem
from evaluator.window.windows import Taken, fresh_share
from services.common.policy.records import Policy


def metric_holds(policy: Policy, taken: Taken, processes: Sequence[ProcessView], now: float) -> list[str]:
    """Why the metrics allow no conclusion in the version's favour."""
    if not processes:
        return ["no Router and no Worker has a running lease, so there are no metrics"]
    holds = [f"{problem.instance_id}: {problem.reason}" for problem in taken.problems if _holds(problem)]
    names = [process.instance_id for process in processes]
    share = fresh_share(taken.cursor, names, now, policy.stale_after)
    if share < policy.fresh_instances:
        first = next(iter(taken.problems), None)
        why = f" ({first.instance_id}: {first.reason})" if first is not None else ""
        holds.append(
            f"metrics of {words.percent(share)} of the processes are younger than "
            f"{words.duration(policy.stale_after)}, and {words.percent(policy.fresh_instances)} are needed{why}"
        )
    return holds


def _holds(problem: Problem) -> bool:
    """What is not read is missed among the fresh processes; of counts of the user's own nothing else says that."""
    return problem.lasting or problem.instance_id.startswith(OWN_PROCESS)
