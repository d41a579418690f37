"""Many rollouts one after another on one suite: does every one end as it should, and does anything grow?"""

from benchmarks.many_rollouts.command import main

__all__ = ["main"]
