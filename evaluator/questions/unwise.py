"""What a policy and a plan can be judged by, and had better not: said before the start, and not refused."""

from evaluator import words
from evaluator.terms import Terms
from services.common.policy.metrics import shown_in
from services.common.policy.records import Gate, Need, PeriodEnd, Step
from services.common.policy.timing import AGREEING_LOOKS, least_period, rounded, written


def unwise(terms: Terms, step: Step) -> tuple[str, ...]:
    """What is unwise about a step's times and its gates' margins, a sentence part each."""
    found = []
    policy = terms.policy
    least = least_period(policy)
    if least > step.period and policy.period_end is not PeriodEnd.HOLD:
        longer = written(rounded(least))
        found.append(
            f"{AGREEING_LOOKS} judged looks have to agree on harm, and the last of them may come "
            f"{words.duration(least)} after the step's begin, when its period is over: give it {longer} "
            "or more, or look more often (look_interval)"
        )
    if step is terms.plan.steps[-1] and not terms.superior:
        found += [
            f"the harm and safe margins of {gate.name} (almost) meet{_where(gate)}, so that the period's end cannot "
            "pass it, but only proof: make safe wider than harm"
            for gate in policy.gates
            if gate.need is not Need.NEVER and shown_in(gate.metric, shadow=step.shadow) and gate.margins_meet
        ]
    return tuple(found)


def _where(gate: Gate) -> str:
    return " where stable has next to none" if gate.safe.factor > gate.harm.factor else ""
