"""The budget of second attempts: at most a tenth of the calls, so that retries never multiply an overload."""

from typing import Final

SHARE: Final = 0.1
_MOST: Final = 10.0


class RetryBudget:
    """Each call earns a tenth of a retry; at most ten are saved up."""

    def __init__(self) -> None:
        self._tokens = _MOST

    def earn(self) -> None:
        """Notes a call."""
        self._tokens = min(_MOST, self._tokens + SHARE)

    def spend(self) -> bool:
        """Takes one retry; False: there is none left."""
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
