"""The burst guard, by a list of accounts: one for each bet and the look that it begins with.

An account holds its part of the wealth from the start, and until it has begun it is left as it is. Where a look raises
the sum beyond `cap` above what it was, or above 1 where that was less, all accounts get what they had before it, raised
by one factor to that sum, those that have not begun too: who gives away wealth has no more of it to expect. Numbers of
40 digits and any size, so that no look is too much.
"""

from collections.abc import Sequence
from decimal import Decimal, localcontext
from typing import Final

_DIGITS: Final = 40


def capped_log_es(
    weights: Sequence[float], gains: Sequence[Sequence[float]], late: float, cap: float
) -> tuple[list[float], list[float], float]:
    """ln E after each look; and after the last one ln of each bet's accounts and of what has not begun.

    Args:
        weights: of the bets, of any sum.
        gains: ln e of each bet, look by look.
        late: the part of the wealth for bets that begin with look k = 2, 3..., of it 1/((k-1)k) each.
        cap: in ln E.
    """
    with localcontext() as context:
        context.prec, context.Emin, context.Emax = _DIGITS, -(10**9), 10**9
        parts = [Decimal(weight) / sum(map(Decimal, weights)) for weight in weights]
        accounts = [[(1 - Decimal(late)) * part] for part in parts]
        waiting, before, found = Decimal(late), Decimal(1), []
        for number, look in enumerate(gains, start=1):
            won = [[wealth * Decimal(gain).exp() for wealth in own] for own, gain in zip(accounts, look, strict=True)]
            whole = waiting + sum(sum(own) for own in won)
            most = max(before, Decimal(1)) * Decimal(cap).exp() if cap < float("inf") else whole
            if whole > most:
                raised = most / before
                won = [[wealth * raised for wealth in own] for own in accounts]
                waiting, whole = waiting * raised, most
            accounts = won
            found.append(float(whole.ln()))
            before = whole
            # Of what waits, 1/(k(k+1)) of 1/k begins with the next look.
            begin = waiting / (number + 1)
            accounts = [[*own, begin * part] for own, part in zip(accounts, parts, strict=True)]
            waiting -= begin
        held = [float(Decimal(sum(own)).ln()) for own in accounts]
        return found, held, float(waiting.ln()) if waiting else float("-inf")
